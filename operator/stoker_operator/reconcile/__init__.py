"""One reconcile per kind: observe from the cache, plan, apply the difference, report."""

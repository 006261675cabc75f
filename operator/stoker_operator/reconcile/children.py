"""Workloads in the cluster as they are planned."""

from collections.abc import Mapping, Sequence
from typing import Any

from stoker_operator.cluster.records import Workload
from stoker_operator.kube.client import FIELD_MANAGER, Json
from stoker_operator.kube.paths import WORKLOADS
from stoker_operator.planning.drift import drift
from stoker_operator.reconcile.context import Context


async def apply_children(context: Context, manifests: Sequence[Json], present: Mapping[str, Workload]) -> None:
    """Make or mend each; what is as planned is not written. Raises KubeError."""
    for manifest in manifests:
        child = present.get(manifest["metadata"]["name"])
        if child is None:
            # Without force: one that somebody else has made meanwhile is not taken over.
            await _apply(context, manifest, "create", force=False)
        else:
            await _mend(context, manifest, child)


async def delete_children(context: Context, children: Sequence[Workload]) -> None:
    """Each with its pods; another object of the same name stays. Raises KubeError."""
    for child in children:
        await context.client.delete(WORKLOADS, child.ref.namespace, child.ref.name, child.ref.uid)
        context.metrics.writes.labels(WORKLOADS.kind, "delete").inc()
        context.inbox.gone(WORKLOADS, child.ref)


async def _mend(context: Context, manifest: Json, child: Workload) -> None:
    found = drift(manifest, child.live(), FIELD_MANAGER, roots=("spec",))
    if found.strays:
        await _remove(context, child, found.strays)
    if found.apply:
        known = {**manifest, "metadata": {**manifest["metadata"], "uid": child.ref.uid}}
        await _apply(context, known, "apply", force=True)


async def _remove(context: Context, child: Workload, strays: Sequence[str]) -> None:
    """Take away what others have added to our fields."""
    steps: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": str(child.ref.version)},
        *({"op": "remove", "path": stray} for stray in strays),
    ]
    answer = await context.client.patch(WORKLOADS, child.ref.namespace, child.ref.name, steps)
    context.metrics.writes.labels(WORKLOADS.kind, "mend").inc()
    context.inbox.seen(WORKLOADS, answer)


async def _apply(context: Context, manifest: Json, verb: str, *, force: bool) -> None:
    answer = await context.client.apply(WORKLOADS, manifest, force=force)
    context.metrics.writes.labels(WORKLOADS.kind, verb).inc()
    context.inbox.seen(WORKLOADS, answer)

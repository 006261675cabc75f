"""The cluster as it was last seen: what is kept of each object, and which resources a change concerns."""

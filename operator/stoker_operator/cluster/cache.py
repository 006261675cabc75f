"""Every watched object, as far as decisions need it. It has one writer: whoever brings events."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stoker_operator.cluster import records
from stoker_operator.cluster.capacity import Usage
from stoker_operator.cluster.records import Custom, NamespaceRecord, NodeRecord, PodRecord, Record, Ref, Workload
from stoker_operator.kube import paths
from stoker_operator.kube.paths import Collection
from stoker_operator.planning.placement import Pool
from stoker_operator.planning.pod import counted

READERS: Mapping[Collection, Callable[[Mapping[str, Any]], Record]] = {
    paths.NAMESPACES: records.namespace,
    paths.NODES: records.node,
    paths.GPU_POOLS: records.gpu_pool,
    paths.MODELS: records.model,
    paths.ADAPTERS: records.adapter,
    paths.DEPLOYMENTS: records.deployment,
    paths.WORKLOADS: records.workload,
    paths.PODS: records.pod,
}


@dataclass(frozen=True, slots=True)
class Change:
    """An object before and after; one of them may be None. `freed`: accelerators, cores or memory became free."""

    collection: Collection
    before: Any
    after: Any
    freed: bool = False


class Cache:
    """Objects by namespace and name."""

    def __init__(self) -> None:
        self._objects: dict[Collection, dict[tuple[str, str], Any]] = {collection: {} for collection in READERS}
        self._workloads_of: dict[tuple[str, str], dict[str, Workload]] = defaultdict(dict)
        self._workloads_in: dict[str, dict[str, Workload]] = defaultdict(dict)
        self._pods_of: dict[tuple[str, str], dict[str, PodRecord]] = defaultdict(dict)
        self._nodes: dict[str, NodeRecord] = {}
        self._gone: set[str] = set()
        self.usage = Usage()

    def put(self, collection: Collection, raw: Mapping[str, Any]) -> Change | None:
        """Keep an object; None if this version or a later one, or its end, was known already."""
        after = READERS[collection](raw)
        key = (after.ref.namespace, after.ref.name)
        before = self._objects[collection].get(key)
        if after.ref.uid in self._gone or (before and before.ref.version >= after.ref.version):
            return None
        self._objects[collection][key] = after
        return self._changed(collection, before, after)

    def remove(self, collection: Collection, ref: Ref) -> Change | None:
        """Forget an object, if it is this one."""
        self._gone.add(ref.uid)
        before = self._objects[collection].get((ref.namespace, ref.name))
        if before is None or before.ref.uid != ref.uid:
            return None
        del self._objects[collection][ref.namespace, ref.name]
        return self._changed(collection, before, None)

    def forget_the_gone(self) -> None:
        """After a list: no older answer can bring back what was deleted before it."""
        self._gone.clear()

    def refs(self, collection: Collection) -> dict[str, Ref]:
        """All objects of a kind, by uid."""
        return {record.ref.uid: record.ref for record in self._objects[collection].values()}

    def find(self, collection: Collection, namespace: str, name: str) -> Ref | None:
        """Which object has this name."""
        found: Record | None = self._objects[collection].get((namespace, name))
        return found.ref if found else None

    def customs(self, collection: Collection) -> Iterator[Custom]:
        """All of one of our own kinds."""
        yield from self._objects[collection].values()

    def custom(self, collection: Collection, namespace: str, name: str) -> Custom | None:
        """One of our own resources."""
        found: Custom | None = self._objects[collection].get((namespace, name))
        return found

    def account(self, namespace: str) -> str:
        """Of a namespace; "" if it has none."""
        found: NamespaceRecord | None = self._objects[paths.NAMESPACES].get(("", namespace))
        return found.account if found else ""

    def pool(self, record: Custom) -> Pool:
        """A GPUPool's nodes and what is free on them; what was promised and not taken counts as free."""
        return self.usage.pool(record, self._nodes)

    def workload_names(self, namespace: str) -> set[str]:
        """Of anyone's apps/Deployments."""
        return set(self._workloads_in.get(namespace, ()))

    def workloads_of(self, namespace: str, deployment: str) -> list[Workload]:
        """Children of Deployments of this name, perhaps of one that is gone."""
        return list(self._workloads_of.get((namespace, deployment), {}).values())

    def owned_workloads(self) -> Iterator[Workload]:
        """Children of any Deployment, perhaps of ones that are gone."""
        for children in self._workloads_of.values():
            yield from children.values()

    def workers(self) -> Iterator[PodRecord]:
        """Worker pods of all Deployments."""
        for pods in self._pods_of.values():
            yield from pods.values()

    def pods_of(self, deployment: Ref) -> list[PodRecord]:
        """Worker pods of a Deployment. What wears its labels in another namespace is somebody else's."""
        return list(self._pods_of.get((deployment.namespace, deployment.uid), {}).values())

    def _changed(self, collection: Collection, before: Any, after: Any) -> Change:
        freed = False
        if collection == paths.PODS:
            freed = self.usage.pod_changed(before, after)
            self._index_pod(before, after)
        elif collection == paths.WORKLOADS:
            self._index_workload(before, after)
        elif collection == paths.NODES:
            self._index_node(before, after)
        elif collection == paths.DEPLOYMENTS and after is None:
            self.usage.forget(before.ref.uid)
        elif collection == paths.GPU_POOLS:
            self.usage.pool_changed((after or before).ref.name)
        return Change(collection, before, after, freed)

    def _index_pod(self, before: PodRecord | None, after: PodRecord | None) -> None:
        if before and before.deployment_uid:
            known = before.ref.namespace, before.deployment_uid
            self._pods_of[known].pop(before.ref.name, None)
            if not self._pods_of[known]:
                del self._pods_of[known]
        if after and after.deployment_uid:
            self._pods_of[after.ref.namespace, after.deployment_uid][after.ref.name] = after

    def _index_node(self, before: NodeRecord | None, after: NodeRecord | None) -> None:
        for node in (before, after):
            if node:
                self.usage.nodes_changed(node.ref.name)
        if before:
            del self._nodes[before.ref.name]
        if after:
            self._nodes[after.ref.name] = after

    def _index_workload(self, before: Workload | None, after: Workload | None) -> None:
        if before:
            self._workloads_in[before.ref.namespace].pop(before.ref.name, None)
            if before.owner:
                self._workloads_of[before.ref.namespace, before.owner.name].pop(before.ref.name, None)
        if after:
            self._workloads_in[after.ref.namespace][after.ref.name] = after
            if after.owner:
                self._workloads_of[after.ref.namespace, after.owner.name][after.ref.name] = after
        self.usage.workload_changed(before, after, self._counted(after.pool) if after else "")

    def _counted(self, pool: str) -> str:
        found = self.custom(paths.GPU_POOLS, "", pool)
        return counted(found.spec) if found and found.spec else ""

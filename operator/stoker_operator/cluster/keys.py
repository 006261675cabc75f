"""Which resources a change concerns. Whatever happens, they are reconciled whole."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from stoker_operator.cluster.cache import Cache, Change
from stoker_operator.cluster.records import Custom, NodeRecord, PodRecord, Workload
from stoker_operator.kube import paths
from stoker_operator.kube.paths import ADAPTERS, DEPLOYMENTS, GPU_POOLS, MODELS, Collection


@dataclass(frozen=True, slots=True)
class Key:
    """A resource to reconcile."""

    collection: Collection
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.collection.kind, self.namespace, self.name) if part)


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that a resource waits for, beside what it names: room anywhere, or an object that is in its way."""

    kind: str
    namespace: str = ""
    name: str = ""


ROOM = Topic("room")


@dataclass(frozen=True, slots=True)
class Concerned:
    """What a change concerns: resources at once, and whoever waits for these topics."""

    keys: frozenset[Key]
    topics: frozenset[Topic] = frozenset()


def workload_topic(namespace: str, name: str) -> Topic:
    """An apps/Deployment of somebody else's."""
    return Topic("workload", namespace, name)


def concerned(change: Change, cache: Cache) -> Concerned:
    """Read a change. The cache holds its outcome already."""
    return CONCERNED[change.collection](change, cache)


def all_keys(cache: Cache) -> Iterator[Key]:
    """Every resource that there is, and Deployments that have left children behind."""
    for collection in (GPU_POOLS, MODELS, ADAPTERS, DEPLOYMENTS):
        for record in cache.customs(collection):
            yield Key(collection, record.ref.namespace, record.ref.name)
    for child in cache.owned_workloads():
        assert child.owner is not None
        yield Key(DEPLOYMENTS, child.ref.namespace, child.owner.name)


def _itself(change: Change) -> Key:
    ref = (change.after or change.before).ref
    return Key(change.collection, ref.namespace, ref.name)


def _of_deployment(change: Change, _: Cache) -> Concerned:
    if _only_status_changed(change):
        return Concerned(frozenset())
    return Concerned(frozenset({_itself(change)}), frozenset({ROOM} if change.after is None else ()))


def _of_model(change: Change, cache: Cache) -> Concerned:
    if _only_status_changed(change):
        return Concerned(frozenset())
    name = _itself(change).name
    users = _keys(cache, DEPLOYMENTS, lambda record: record.spec is not None and record.spec.model == name)
    return Concerned(users | _keys(cache, MODELS) | _keys(cache, ADAPTERS) | {_itself(change)})


def _of_adapter(change: Change, cache: Cache) -> Concerned:
    if _only_status_changed(change):
        return Concerned(frozenset())
    key = _itself(change)
    users = _keys(
        cache,
        DEPLOYMENTS,
        lambda record: (
            record.spec is not None and record.ref.namespace == key.namespace and key.name in record.spec.adapters
        ),
    )
    return Concerned(users | {key})


def _of_pool(change: Change, cache: Cache) -> Concerned:
    if _only_status_changed(change):
        return Concerned(frozenset())
    key = _itself(change)
    return Concerned(_with_children_on(cache, key.name) | {key}, frozenset({ROOM}))


def _of_namespace(change: Change, cache: Cache) -> Concerned:
    if change.before and change.after and change.before.account == change.after.account:
        return Concerned(frozenset())
    name = _itself(change).name
    return Concerned(_keys(cache, DEPLOYMENTS, lambda record: record.ref.namespace == name))


def _of_node(change: Change, cache: Cache) -> Concerned:
    before, after = change.before, change.after
    if before and after and _offer(before) == _offer(after):
        return Concerned(frozenset())
    return Concerned(_keys(cache, GPU_POOLS), frozenset({ROOM}))


def _of_workload(change: Change, _: Cache) -> Concerned:
    keys = {
        Key(DEPLOYMENTS, one.ref.namespace, one.owner.name)
        for one in (change.before, change.after)
        if isinstance(one, Workload) and one.owner
    }
    ref = (change.after or change.before).ref
    topics = {workload_topic(ref.namespace, ref.name)} | (
        {ROOM} if _replicas(change.before) > _replicas(change.after) else set()
    )
    return Concerned(frozenset(keys), frozenset(topics))


def _of_pod(change: Change, cache: Cache) -> Concerned:
    pods = [one for one in (change.before, change.after) if isinstance(one, PodRecord)]
    keys = {Key(DEPLOYMENTS, pod.ref.namespace, pod.deployment) for pod in pods if pod.deployment}
    moved = change.before is None or change.after is None or change.before.active != change.after.active
    pools = _keys(cache, GPU_POOLS) if moved and any(pod.requests for pod in pods) else frozenset()
    return Concerned(frozenset(keys) | pools, frozenset({ROOM} if change.freed else ()))


CONCERNED: Mapping[Collection, Callable[[Change, Cache], Concerned]] = {
    paths.NAMESPACES: _of_namespace,
    paths.NODES: _of_node,
    paths.GPU_POOLS: _of_pool,
    paths.MODELS: _of_model,
    paths.ADAPTERS: _of_adapter,
    paths.DEPLOYMENTS: _of_deployment,
    paths.WORKLOADS: _of_workload,
    paths.PODS: _of_pod,
}


def _only_status_changed(change: Change) -> bool:
    """Our own reports lead to nothing; a status that somebody else wrote is put right with the next resync."""
    before, after = change.before, change.after
    return (
        isinstance(before, Custom)
        and isinstance(after, Custom)
        and (before.generation, before.deleting, before.ref.uid) == (after.generation, after.deleting, after.ref.uid)
    )


def _replicas(workload: Workload | None) -> int:
    return workload.replicas if workload else 0


def _offer(node: NodeRecord) -> object:
    return node.labels, node.allocatable, node.usable


def _keys(cache: Cache, collection: Collection, chosen: Callable[[Custom], bool] = lambda _: True) -> frozenset[Key]:
    return frozenset(
        Key(collection, record.ref.namespace, record.ref.name) for record in cache.customs(collection) if chosen(record)
    )


def _with_children_on(cache: Cache, pool: str) -> frozenset[Key]:
    return frozenset(
        Key(DEPLOYMENTS, child.ref.namespace, child.owner.name)
        for child in cache.owned_workloads()
        if child.owner and child.pool == pool
    )

"""Who has taken which accelerators: kept up to date with every pod, so that a decision need not look at all of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from stoker_operator.cluster.records import Custom, NodeRecord, PodRecord, Workload
from stoker_operator.planning.capacity import Claim, is_member, node_of, pool_of
from stoker_operator.planning.placement import Node, Pool
from stoker_operator.planning.pod import counted

Wish = tuple[str, str]  # a Deployment's uid, and a pool


class Usage:
    """Amounts that pods take up on nodes, and what Deployments have been promised on pools and have not taken yet."""

    def __init__(self) -> None:
        self._used: dict[str, Counter[str]] = defaultdict(Counter)
        self._on_nodes: Counter[Wish] = Counter()
        self._promised: dict[Wish, tuple[int, int]] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self._rooms: dict[str, dict[str, Node]] = defaultdict(dict)

    def pod_changed(self, before: PodRecord | None, after: PodRecord | None) -> bool:
        """Whether something became free."""
        self._count(before, -1)
        self._count(after, 1)
        was, now = _taken(before), _taken(after)
        return bool(was) and was != now

    def promise(self, uid: str, pool: str, count: int, replicas: int) -> None:
        """So many replicas of `count` accelerators are to run on the pool, whether nodes have them already or not."""
        if replicas and count:
            self._promised[uid, pool] = (count, replicas)
        else:
            self._promised.pop((uid, pool), None)

    def forget(self, uid: str) -> None:
        """The Deployment is gone: nothing is promised to it any more."""
        for wish in [wish for wish in self._promised if wish[0] == uid]:
            del self._promised[wish]

    def workload_changed(self, before: Workload | None, after: Workload | None, resource: str) -> None:
        """What a workload asks for is promised; one that is gone needs nothing."""
        if before and before.owner and (not after or not after.owner):
            self.promise(before.owner.uid, before.pool, 0, 0)
        if after and after.owner:
            self.promise(after.owner.uid, after.pool, after.requests.get(resource, 0) // 1000, after.replicas)

    def claims(self, besides: str) -> list[Claim]:
        """What Deployments other than `besides` have been promised and not taken, equal claims on a pool as one."""
        found: Counter[tuple[str, int]] = Counter()
        for (uid, pool), (count, replicas) in self._promised.items():
            if uid != besides and replicas > (taken := self._on_nodes[uid, pool]):
                found[pool, count] += replicas - taken
        return [Claim(pool, count, replicas) for (pool, count), replicas in found.items()]

    def pool(self, record: Custom, nodes: Mapping[str, NodeRecord]) -> Pool:
        """A GPUPool as it is; what was promised on it and not taken counts as free. Computed anew only where something changed."""
        name, spec = record.ref.name, record.spec
        resource = counted(spec)
        members = self._members.get(name)
        if members is None:
            chosen = (one for one, node in nodes.items() if node.usable and is_member(spec, node.labels))
            members = self._members[name] = tuple(chosen)
        return pool_of(name, spec, (self._room(nodes[node], resource) for node in members))

    def _room(self, node: NodeRecord, resource: str) -> Node:
        rooms = self._rooms[node.ref.name]
        if resource not in rooms:
            rooms[resource] = node_of(resource, node.allocatable, self._used[node.ref.name])
        return rooms[resource]

    def nodes_changed(self, name: str) -> None:
        """A node has come, gone or changed."""
        self._members.clear()
        self._rooms.pop(name, None)

    def pool_changed(self, name: str) -> None:
        """A GPUPool may have other nodes now."""
        self._members.pop(name, None)

    def _count(self, pod: PodRecord | None, sign: int) -> None:
        if pod is None or not pod.active:
            return
        self._rooms.pop(pod.node, None)
        used = self._used[pod.node]
        for resource, amount in pod.requests.items():
            used[resource] += sign * amount
        if pod.deployment_uid:
            self._on_nodes[pod.deployment_uid, pod.pool] += sign


def _taken(pod: PodRecord | None) -> tuple[str, Mapping[str, int]] | None:
    return (pod.node, pod.requests) if pod and pod.active else None

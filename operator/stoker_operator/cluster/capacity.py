"""Who has taken which accelerators: kept up to date with every pod, so that a decision need not look at all of them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from stoker_operator.cluster.records import NodeRecord, PodRecord, Workload
from stoker_operator.planning.capacity import Claim, Machine

Wish = tuple[str, str]  # a Deployment's uid, and a pool


class Usage:
    """Amounts that pods take up on nodes, and what Deployments have been promised on pools and have not taken yet."""

    def __init__(self) -> None:
        self._used: dict[str, Counter[str]] = defaultdict(Counter)
        self._on_nodes: Counter[Wish] = Counter()
        self._promised: dict[Wish, tuple[int, int]] = {}

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

    def workload_changed(self, before: Workload | None, after: Workload | None, resource: str) -> None:
        """What a workload asks for is promised; one that is gone needs nothing."""
        if before and before.owner and (not after or not after.owner):
            self.promise(before.owner.uid, before.pool, 0, 0)
        if after and after.owner:
            self.promise(after.owner.uid, after.pool, after.requests.get(resource, 0) // 1000, after.replicas)

    def claims(self, besides: str) -> list[Claim]:
        """What Deployments other than `besides` have been promised and not taken."""
        return [
            Claim(pool, count, replicas - self._on_nodes[uid, pool])
            for (uid, pool), (count, replicas) in self._promised.items()
            if uid != besides and replicas > self._on_nodes[uid, pool]
        ]

    def machines(self, nodes: Mapping[str, NodeRecord]) -> Iterator[Machine]:
        """The nodes that can be used, with what is taken of them."""
        for name, node in nodes.items():
            if node.usable:
                yield Machine(name, node.labels, node.allocatable, self._used[name])

    def _count(self, pod: PodRecord | None, sign: int) -> None:
        if pod is None or not pod.active:
            return
        used = self._used[pod.node]
        for resource, amount in pod.requests.items():
            used[resource] += sign * amount
        if pod.deployment_uid:
            self._on_nodes[pod.deployment_uid, pod.pool] += sign


def _taken(pod: PodRecord | None) -> tuple[str, Mapping[str, int]] | None:
    return (pod.node, pod.requests) if pod and pod.active else None

"""What pools have: accelerators of their nodes, less what pods there ask for and what others have been promised."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.planning.placement import Node, Pool
from stoker_operator.planning.pod import counted

NANO_USD = 10**9


@dataclass(frozen=True, slots=True)
class Machine:
    """A node that can be used. Amounts are thousandths, by resource."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    used: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Claim:
    """Replicas that are wanted on a pool and that no node has taken yet, each of `count` accelerators."""

    pool: str
    count: int
    replicas: int


def pool_of(name: str, spec: GPUPoolSpec, machines: Iterable[Machine]) -> Pool:
    """A pool with the nodes that carry all its labels, whoever has been promised them."""
    resource = counted(spec)
    nodes = tuple(
        Node(
            total=machine.allocatable.get(resource, 0) // 1000,
            free=(machine.allocatable.get(resource, 0) - machine.used.get(resource, 0)) // 1000,
        )
        for machine in machines
        if spec.node_selector.items() <= machine.labels.items()
    )
    return Pool(name, spec.region, spec.accelerator, nano_usd(spec.price_per_gpu_hour), spec.spot, nodes)


def less_claims(pool: Pool, claims: Sequence[Claim]) -> Pool:
    """What is left of a pool once the claims on it are met, the largest first, on the nodes with the least room."""
    free = sorted(node.free for node in pool.nodes)
    totals = [node.total for node in sorted(pool.nodes, key=lambda node: node.free)]
    for claim in sorted(claims, key=lambda claim: -claim.count):
        waiting = claim.replicas if claim.pool == pool.name and claim.count else 0
        for index, room in enumerate(free):
            taken = min(waiting, max(0, room) // claim.count) if waiting else 0
            free[index] -= taken * claim.count
            waiting -= taken
    return replace(pool, nodes=tuple(map(Node, totals, free)))


def nano_usd(price: str) -> int:
    """A decimal amount of dollars as whole billionths."""
    dollars, _, cents = price.partition(".")
    return int(dollars) * NANO_USD + int(cents.ljust(9, "0"))

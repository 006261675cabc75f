"""What pools have: accelerators of their nodes, less what pods there ask for and what others have been promised."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.planning.placement import Node, Pool

NANO_USD = 10**9


@dataclass(frozen=True, slots=True)
class Claim:
    """Replicas that are wanted on a pool and that no node has taken yet, each of `count` accelerators."""

    pool: str
    count: int
    replicas: int


def is_member(spec: GPUPoolSpec, labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels is of the pool: it carries all of the pool's."""
    return spec.node_selector.items() <= labels.items()


def node_of(resource: str, allocatable: Mapping[str, int], used: Mapping[str, int]) -> Node:
    """A node's accelerators, counted by `resource`. Amounts are thousandths."""
    total = allocatable.get(resource, 0)
    return Node(total // 1000, (total - used.get(resource, 0)) // 1000)


def pool_of(name: str, spec: GPUPoolSpec, nodes: Iterable[Node]) -> Pool:
    """A pool with these nodes, whoever has been promised them."""
    price = nano_usd(spec.price_per_gpu_hour)
    return Pool(name, spec.region, spec.accelerator, price, spec.spot, tuple(nodes))


def less_claims(pool: Pool, claims: Sequence[Claim]) -> Pool:
    """What is left of a pool once the claims on it are met, the largest first, on the nodes with the least room."""
    here = sorted(
        (claim for claim in claims if claim.pool == pool.name and claim.count), key=lambda claim: -claim.count
    )
    if not here:
        return pool
    nodes = sorted(pool.nodes, key=lambda node: node.free)
    free = [node.free for node in nodes]
    for claim in here:
        waiting = claim.replicas
        for index, room in enumerate(free):
            taken = min(waiting, max(0, room) // claim.count)
            free[index] -= taken * claim.count
            waiting -= taken
            if not waiting:
                break
    return replace(pool, nodes=tuple(Node(node.total, left) for node, left in zip(nodes, free, strict=True)))


def nano_usd(price: str) -> int:
    """A decimal amount of dollars as whole billionths."""
    dollars, _, cents = price.partition(".")
    return int(dollars) * NANO_USD + int(cents.ljust(9, "0"))

"""Which pools a deployment's replicas go to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Node:
    """Accelerators of one node. `free` may be below zero where pods were forced onto it."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A GPUPool as it was found.

    price_nano_usd  per accelerator and hour
    nodes           those that are Ready
    """

    name: str
    region: str
    accelerator: str
    price_nano_usd: int
    spot: bool
    nodes: tuple[Node, ...]

    @property
    def total(self) -> int:
        """Accelerators of the pool."""
        return sum(node.total for node in self.nodes)

    @property
    def free(self) -> int:
        """Those that no pod has asked for."""
        return sum(max(0, node.free) for node in self.nodes)

    def room(self, count: int) -> int:
        """How many replicas of `count` accelerators fit now; a replica lies on one node."""
        return sum(max(0, node.free) // count for node in self.nodes)

    def can_ever_hold(self, count: int) -> bool:
        """A pool without nodes may get some, so it can."""
        return not self.nodes or any(node.total >= count for node in self.nodes)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a deployment asks for. `regions` empty: any."""

    replicas: int
    accelerator: str
    count: int
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Placement:
    """Replicas per pool; of them, how many have no room there yet, and how many have room and have yet to take it.

    Pools without any are left out.
    """

    replicas: Mapping[str, int]
    waiting: Mapping[str, int]
    granted: Mapping[str, int] = field(default_factory=dict, compare=False)


class Unplaceable(Exception):
    """No pool can ever take a replica. The reason is for machines, the text says what to change."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def candidates(wanted: Wanted, pools: Sequence[Pool]) -> list[Pool]:
    """The pools that could take a replica, now or later, best first. Raises Unplaceable."""
    alike = [pool for pool in pools if pool.accelerator == wanted.accelerator]
    if not alike:
        have = ", ".join(sorted({pool.accelerator for pool in pools})) or "none"
        raise Unplaceable("NoSuchAccelerator", f"no GPUPool has {wanted.accelerator}; there are pools of: {have}")
    for region in wanted.regions:
        if all(pool.region != region for pool in alike):
            have = ", ".join(sorted({pool.region for pool in alike}))
            raise Unplaceable("NoPoolInRegion", f"no GPUPool has {wanted.accelerator} in {region}; it is in: {have}")
    near = [pool for pool in alike if not wanted.regions or pool.region in wanted.regions]
    able = [pool for pool in near if pool.can_ever_hold(wanted.count)]
    if not able:
        largest = max(node.total for pool in near for node in pool.nodes)
        raise Unplaceable(
            "ReplicaLargerThanNode",
            f"a replica asks for {wanted.count} × {wanted.accelerator} and the largest node has {largest}: "
            "lower accelerator.count, or add larger nodes",
        )
    return sorted(able, key=lambda pool: (pool.spot, pool.price_nano_usd, pool.name))


def place(wanted: Wanted, pools: Sequence[Pool], held: Mapping[str, int]) -> Placement:
    """Where the replicas go.

    Replicas stay where they are. Further ones go, one by one, to the region with the fewest (of equals, the one the deployment
    names first) that has room; there to the cheapest pool with room, and to spot nodes last. What has room nowhere is planned all
    the same, on the pool that would be next, so that whoever adds nodes sees what is missing. Surplus ones leave in the opposite order.

    held    replicas that the deployment has on each pool; their accelerators are not free
    Raises Unplaceable.
    """
    usable = candidates(wanted, pools)
    order = _region_order(wanted, usable)
    room = {pool.name: pool.room(wanted.count) for pool in usable}
    chosen = {pool.name: held.get(pool.name, 0) for pool in usable}
    waiting, granted = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0)
    while sum(chosen.values()) > wanted.replicas:
        chosen[_leaves_first(usable, chosen, order).name] -= 1
    while sum(chosen.values()) < wanted.replicas:
        pool = _takes_next(usable, chosen, room, order)
        chosen[pool.name] += 1
        if room[pool.name]:
            room[pool.name] -= 1
            granted[pool.name] += 1
        else:
            waiting[pool.name] += 1
    return Placement(_without_zeros(chosen), _without_zeros(waiting), _without_zeros(granted))


def shortage(wanted: Wanted, pools: Sequence[Pool], placement: Placement) -> str:
    """What is missing, for people; empty if nothing is."""
    short = [pool for pool in pools if pool.name in placement.waiting]
    return "; ".join(
        f"needs {placement.waiting[pool.name] * wanted.count} × {pool.accelerator} in {pool.region}: "
        f"pool {pool.name} has {_left(pool, wanted, placement)}"
        for pool in short
    )


def _left(pool: Pool, wanted: Wanted, placement: Placement) -> str:
    """What is free once the deployment's other replicas have their room; why it does not help, if there is enough of it."""
    free = pool.free - placement.granted.get(pool.name, 0) * wanted.count
    but = f", but no node has {wanted.count} of them" if free >= wanted.count else ""
    return f"{free} free of {pool.total}{but}"


def _region_order(wanted: Wanted, usable: Sequence[Pool]) -> dict[str, int]:
    regions = wanted.regions or tuple(dict.fromkeys(pool.region for pool in usable))
    return {region: index for index, region in enumerate(regions)}


def _takes_next(
    usable: Sequence[Pool], chosen: Mapping[str, int], room: Mapping[str, int], order: Mapping[str, int]
) -> Pool:
    in_region = _by_region(usable, chosen)
    return min(usable, key=lambda pool: (not room[pool.name], in_region[pool.region], order[pool.region]))


def _leaves_first(usable: Sequence[Pool], chosen: Mapping[str, int], order: Mapping[str, int]) -> Pool:
    in_region = _by_region(usable, chosen)
    occupied = [pool for pool in usable if chosen[pool.name]]
    return max(
        occupied,
        key=lambda pool: (in_region[pool.region], order[pool.region], pool.spot, pool.price_nano_usd, pool.name),
    )


def _by_region(usable: Sequence[Pool], chosen: Mapping[str, int]) -> dict[str, int]:
    counts = dict.fromkeys((pool.region for pool in usable), 0)
    for pool in usable:
        counts[pool.region] += chosen[pool.name]
    return counts


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}

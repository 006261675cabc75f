"""Replicas spread over regions, take the cheapest room, stay where they are, and say what they lack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_operator.planning.placement import Node, Placement, Pool, Unplaceable, Wanted, place, shortage


def pool(
    name: str, *free: int, region: str = "us", price: int = 5, spot: bool = False, accelerator: str = "H100"
) -> Pool:
    """A pool of nodes with 8 accelerators, so many of them free."""
    return Pool(name, region, accelerator, price, spot, tuple(Node(8, count) for count in free))


def wanted(replicas: int, count: int = 4, *regions: str) -> Wanted:
    return Wanted(replicas, "H100", count, regions)


US, EU = pool("us-a", 8, 8), pool("eu-a", 8, 8, region="eu")
CHEAP, DEAR, SPOT = pool("cheap", 8, price=3), pool("dear", 8, 8, price=9), pool("spot", 8, 8, price=1, spot=True)


@pytest.mark.parametrize(
    ("want", "pools", "held", "replicas", "waiting"),
    [
        pytest.param(wanted(0), [US], {}, {}, {}, id="none"),
        pytest.param(wanted(3), [US], {}, {"us-a": 3}, {}, id="one pool"),
        pytest.param(wanted(3), [US, EU], {}, {"us-a": 1, "eu-a": 2}, {}, id="over regions, evenly"),
        pytest.param(wanted(3, 4, "us", "eu"), [US, EU], {}, {"us-a": 2, "eu-a": 1}, {}, id="in the order named"),
        pytest.param(wanted(3, 4, "eu"), [US, EU], {}, {"eu-a": 3}, {}, id="only where it may"),
        pytest.param(wanted(3), [DEAR, CHEAP], {}, {"cheap": 2, "dear": 1}, {}, id="the cheapest first"),
        pytest.param(wanted(7), [SPOT, DEAR, CHEAP], {}, {"cheap": 2, "dear": 4, "spot": 1}, {}, id="spot last"),
        pytest.param(wanted(4), [US, pool("eu-a", 4, region="eu")], {}, {"us-a": 3, "eu-a": 1}, {}, id="spills over"),
        pytest.param(wanted(2), [CHEAP, DEAR], {"dear": 1}, {"cheap": 1, "dear": 1}, {}, id="stays where it is"),
        pytest.param(wanted(1), [US, EU], {"us-a": 2, "eu-a": 1}, {"eu-a": 1}, {}, id="leaves the fuller region"),
        pytest.param(wanted(1), [CHEAP, DEAR], {"cheap": 1, "dear": 1}, {"cheap": 1}, {}, id="leaves the dearer pool"),
        pytest.param(wanted(2), [pool("us-a", 2)], {}, {"us-a": 2}, {"us-a": 2}, id="no room"),
        pytest.param(wanted(1), [pool("us-a", 3, 3)], {}, {"us-a": 1}, {"us-a": 1}, id="no room on any one node"),
        pytest.param(wanted(2), [pool("us-a", 0)], {"us-a": 2}, {"us-a": 2}, {}, id="full with its own replicas"),
        pytest.param(wanted(1), [pool("us-a")], {}, {"us-a": 1}, {"us-a": 1}, id="a pool whose nodes are yet to come"),
        pytest.param(wanted(1), [US], {"gone": 3}, {"us-a": 1}, {}, id="its old pool is gone"),
    ],
)
def test_placements(
    want: Wanted, pools: list[Pool], held: dict[str, int], replicas: dict[str, int], waiting: dict[str, int]
) -> None:
    assert place(want, pools, held) == Placement(replicas, waiting)


@pytest.mark.parametrize(
    ("want", "pools", "reason", "message"),
    [
        (wanted(1), [], "NoSuchAccelerator", "no GPUPool has H100; there are pools of: none"),
        (wanted(1), [pool("a", 8, accelerator="A100")], "NoSuchAccelerator", "there are pools of: A100"),
        (wanted(1, 4, "us", "mars"), [US], "NoPoolInRegion", "no GPUPool has H100 in mars; it is in: us"),
        (wanted(1, 16), [US], "ReplicaLargerThanNode", "asks for 16 × H100 and the largest node has 8"),
    ],
)
def test_what_no_pool_can_ever_give(want: Wanted, pools: list[Pool], reason: str, message: str) -> None:
    with pytest.raises(Unplaceable, match=message) as caught:
        place(want, pools, {})
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("want", "pools", "text"),
    [
        (wanted(2), [US], ""),
        (wanted(1), [pool("us-a", 2, 0)], "needs 4 × H100 in us: pool us-a has 2 free of 16"),
        (
            wanted(1),
            [pool("us-a", 3, 3)],
            "needs 4 × H100 in us: pool us-a has 6 free of 16, but no node has 4 of them",
        ),
    ],
)
def test_a_shortage_is_named(want: Wanted, pools: list[Pool], text: str) -> None:
    assert shortage(want, pools, place(want, pools, {})) == text


POOLS = st.lists(
    st.builds(
        Pool,
        name=st.uuids().map(str),
        region=st.sampled_from(["us", "eu", "ap"]),
        accelerator=st.just("H100"),
        price_nano_usd=st.integers(0, 5),
        spot=st.booleans(),
        nodes=st.lists(st.integers(-2, 8).map(lambda free: Node(8, free)), max_size=4).map(tuple),
    ),
    min_size=1,
    max_size=6,
)


@given(POOLS, st.integers(0, 12), st.integers(1, 8), st.data())
def test_every_replica_is_placed_and_repeating_the_plan_changes_nothing(
    pools: list[Pool], replicas: int, count: int, data: st.DataObject
) -> None:
    held = data.draw(st.dictionaries(st.sampled_from([pool.name for pool in pools]), st.integers(0, 4)))
    want = Wanted(replicas, "H100", count)
    first = place(want, pools, held)
    assert sum(first.replicas.values()) == replicas
    for found in pools:
        new = max(0, first.replicas.get(found.name, 0) - held.get(found.name, 0))
        assert new - first.waiting.get(found.name, 0) <= found.room(count)
    assert place(want, pools, first.replicas).replicas == first.replicas

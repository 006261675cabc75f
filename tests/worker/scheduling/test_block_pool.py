"""The block pool hands out, shares, caches and takes back blocks."""

import pytest

from stoker_worker.scheduling.blocks import BlockPool


def test_blocks_without_a_key_are_given_out_before_cached_ones() -> None:
    pool = BlockPool(3)
    first, second = pool.allocate(), pool.allocate()
    pool.publish(first, b"prefix")
    pool.release([first, second])
    assert pool.allocate() == second
    assert pool.allocate() == 2
    assert pool.lookup(b"prefix") == first


def test_the_least_recently_released_prefix_is_evicted_first() -> None:
    pool = BlockPool(2)
    old, new = pool.allocate(), pool.allocate()
    pool.publish(old, b"old")
    pool.publish(new, b"new")
    pool.release([old])
    pool.release([new])
    assert pool.allocate() == old
    assert pool.lookup(b"old") is None
    assert pool.lookup(b"new") == new


def test_the_tail_of_a_sequence_is_evicted_before_its_head() -> None:
    pool = BlockPool(2)
    head, tail = pool.allocate(), pool.allocate()
    pool.publish(head, b"head")
    pool.publish(tail, b"tail")
    pool.release([head, tail])
    assert pool.allocate() == tail


def test_a_block_held_again_is_not_given_out() -> None:
    pool = BlockPool(1)
    block = pool.allocate()
    pool.publish(block, b"key")
    pool.release([block])
    pool.hold(block)
    assert pool.num_free == 0
    with pytest.raises(IndexError, match="no free block"):
        pool.allocate()


def test_the_first_block_published_under_a_key_stays_the_known_one() -> None:
    pool = BlockPool(2)
    first, second = pool.allocate(), pool.allocate()
    pool.publish(first, b"key")
    pool.publish(second, b"key")
    assert pool.lookup(b"key") == first
    pool.release([second])
    assert pool.num_cached == 1


@pytest.mark.parametrize(
    ("held", "words"),
    [({}, "count 1, held by 0"), ({0: 2}, "count 1, held by 2"), ({0: 1, 1: 1}, "block 1: count 0, held by 1")],
)
def test_the_check_names_what_does_not_add_up(held: dict[int, int], words: str) -> None:
    pool = BlockPool(2)
    pool.allocate()
    assert pool.check({0: 1}) == []
    assert words in " ".join(pool.check(held))

"""The queue: each key once at a time, the latest wish wins, those that fail wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from stoker_operator.queue import Queue, backoff_s

SOON_S = 5.0


async def until(is_so: Callable[[], object]) -> None:
    """Let the loop turn until it is so."""
    async with asyncio.timeout(SOON_S):
        while not is_so():  # noqa: ASYNC110 - the queue has nothing to wait for but its own turns
            await asyncio.sleep(0)


class Work:
    """Notes what is called; waits where a gate is closed."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.busy: Counter[str] = Counter()
        self.most_at_once = 0
        self.gate = asyncio.Event()
        self.failing = 0

    async def __call__(self, key: str) -> float | None:
        self.busy[key] += 1
        assert self.busy[key] == 1, "a key must not be worked on twice at once"
        self.most_at_once = max(self.most_at_once, self.busy.total())
        await self.gate.wait()
        self.busy[key] -= 1
        self.calls.append(key)
        if self.failing:
            self.failing -= 1
            raise RuntimeError("no")
        return None


@asynccontextmanager
async def running(queue: Queue[str], work: Work, concurrency: int) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(work, concurrency))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_wishes_for_one_key_are_one() -> None:
    queue, work = Queue[str](), Work()
    work.gate.set()
    for key in ("a", "b", "a", "c", "a"):
        queue.add(key)
    async with running(queue, work, 1):
        await until(lambda: len(work.calls) == 3 and not queue.depth().ready)
    assert work.calls == ["a", "b", "c"]


async def test_news_goes_before_what_is_only_looked_at_again() -> None:
    queue, work = Queue[str](), Work()
    work.gate.set()
    for key in ("a", "b", "c"):
        queue.add_unhurried(key)
    queue.add("d")
    queue.add("c")
    async with running(queue, work, 1):
        await until(lambda: len(work.calls) == 4)
    assert work.calls == ["d", "c", "a", "b"]


async def test_a_key_added_while_it_is_worked_on_is_worked_on_again() -> None:
    queue, work = Queue[str](), Work()
    queue.add("a")
    async with running(queue, work, 4):
        await until(lambda: work.busy["a"])
        queue.add("a")
        queue.add("a")
        work.gate.set()
        await until(lambda: len(work.calls) == 2 and not queue.depth().working)
    assert work.calls == ["a", "a"]


async def test_concurrency_is_bounded() -> None:
    queue, work = Queue[str](), Work()
    for number in range(10):
        queue.add(str(number))
    async with running(queue, work, 3):
        await until(lambda: queue.depth().working == 3)
        work.gate.set()
        await until(lambda: len(work.calls) == 10)
    assert work.most_at_once == 3


async def test_the_earlier_of_two_times_counts() -> None:
    now = [0.0]
    queue, work = Queue[str](clock=lambda: now[0]), Work()
    work.gate.set()
    for key, delay_s in (("a", 10), ("a", 5), ("a", 20), ("b", 30)):
        queue.add(key, delay_s)
    assert queue.depth().later == 2
    now[0] = 6
    async with running(queue, work, 1):
        await until(lambda: work.calls == ["a"])
    assert queue.depth().later == 1


async def test_who_fails_is_tried_again() -> None:
    queue, work = Queue[str](luck=lambda: 1.0), Work()
    work.gate.set()
    work.failing = 2
    queue.add("a")
    async with running(queue, work, 4):
        await until(lambda: len(work.calls) == 3)
    assert work.calls == ["a"] * 3


@pytest.mark.parametrize(
    ("failures", "luck", "seconds"),
    [(1, 0.0, 0.25), (1, 1.0, 0.125), (2, 0.0, 0.5), (5, 0.0, 4.0), (30, 0.0, 60.0), (1000, 1.0, 30.0)],
)
def test_backoff(failures: int, luck: float, seconds: float) -> None:
    assert backoff_s(failures, luck) == seconds


async def test_age_is_that_of_the_first_in_line() -> None:
    now = [0.0]
    queue: Queue[str] = Queue(clock=lambda: now[0])
    queue.add("a")
    now[0] = 7
    queue.add("b")
    assert queue.depth().oldest_s == 7

"""Keys to reconcile: each at most once at a time, the latest wish wins, and whoever fails tries again later.

Keys that are ready are taken in the order in which they became so, whatever kind they are; those that were added without news, for a
resync, after all others. A key that is added while its reconcile is
under way is taken again afterwards: what was observed may be older than the event that added it.
"""

import asyncio
import contextlib
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.25, 60.0
JITTER = 0.5


def backoff_s(failures: int, luck: float) -> float:
    """How long to wait after so many failures in a row; `luck`, from 0 to 1, keeps those that failed together apart."""
    return min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 20)) * (1 - JITTER * luck)


@dataclass(frozen=True, slots=True)
class Depth:
    """What is in the queue. `oldest_s`: how long the first of those that are ready has waited."""

    ready: int
    later: int
    working: int
    oldest_s: float


class Queue(Generic[K]):
    """Used from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, luck: Callable[[], float] = random.random) -> None:
        self._clock, self._luck = clock, luck
        self._ready: dict[K, float] = {}
        self._unhurried: dict[K, float] = {}
        self._later: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._added = 0
        self._changed = asyncio.Event()

    def add(self, key: K, delay_s: float = 0.0) -> None:
        """Reconcile `key`, at the latest after `delay_s`; an earlier time that it has already stays."""
        if delay_s > 0:
            self._add_later(key, self._clock() + delay_s)
        elif key in self._working:
            self._again.add(key)
        else:
            self._later.pop(key, None)
            self._ready.setdefault(key, self._unhurried.pop(key, self._clock()))
        self._changed.set()

    def add_unhurried(self, key: K) -> None:
        """Reconcile `key` when nothing else is to be done; there is no news of it."""
        if key not in self._ready and key not in self._working:
            self._unhurried.setdefault(key, self._clock())
            self._changed.set()

    async def run(self, work: Callable[[K], Awaitable[float | None]], concurrency: int) -> None:
        """Call `work` for each key, until cancelled; it returns in how many seconds it wants to be called again, or None.

        An exception of `work` is its caller's to count: the key is tried again after a while.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._worker(work))

    def depth(self) -> Depth:
        """What is waiting now."""
        oldest = min((next(iter(lane.values())) for lane in (self._ready, self._unhurried) if lane), default=None)
        age = 0.0 if oldest is None else self._clock() - oldest
        return Depth(len(self._ready) + len(self._unhurried), len(self._later), len(self._working), age)

    async def _worker(self, work: Callable[[K], Awaitable[float | None]]) -> None:
        while True:
            key = await self._take()
            self._working.add(key)
            try:
                again_s = await work(key)
            except Exception:  # noqa: BLE001 - `work` counts and reports what it raises; here it only decides about the next time
                self._failures[key] = self._failures.get(key, 0) + 1
                again_s = backoff_s(self._failures[key], self._luck())
            else:
                self._failures.pop(key, None)
            self._working.discard(key)
            self._after(key, again_s)

    def _after(self, key: K, again_s: float | None) -> None:
        if key in self._again:
            self._again.discard(key)
            # One that fails waits all the same: events must not make it spin.
            self.add(key, again_s or 0.0 if key in self._failures else 0.0)
        elif again_s is not None:
            self.add(key, again_s)

    async def _take(self) -> K:
        while True:
            self._ripen()
            if lane := self._ready or self._unhurried:
                key = next(iter(lane))
                del lane[key]
                if self._ready or self._unhurried:
                    self._changed.set()  # another worker may take the next
                return key
            self._changed.clear()
            until = self._heap[0][0] - self._clock() if self._heap else None
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes together with what it waits for.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until):
                    await self._changed.wait()

    def _add_later(self, key: K, due: float) -> None:
        if key in self._ready or self._later.get(key, due + 1) <= due:
            return
        self._added += 1
        self._later[key] = due
        heapq.heappush(self._heap, (due, self._added, key))

    def _ripen(self) -> None:
        """Move what is due; entries of the heap that were overtaken are passed over."""
        while self._heap and self._heap[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._heap)
            if self._later.get(key) == due:
                del self._later[key]
                self.add(key)

"""The bounded queue of requests that no worker can take yet. Its depth is what scaling looks at."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from stoker_gateway.errors import Overloaded
from stoker_gateway.workers.signal import Signal

RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Waiting:
    """Requests that wait for one entry of the routing table. `oldest_s`: since when, on the loop's clock."""

    held: int
    oldest_s: float


class HeldQueue:
    """Requests wait here by their signals; any change of the routing table or of readiness lets all look again.

    on_change  called when somebody comes or goes
    """

    def __init__(self, max_held: int) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._max_held = max_held
        self._signals: dict[Signal, tuple[str, float]] = {}

    def __len__(self) -> int:
        return len(self._signals)

    def enter(self, signal: Signal, entry_key: str) -> None:
        """Wait from now on for an entry of the routing table ("": for anything); entering twice is one wait.

        Raises Overloaded if the queue is full.
        """
        known = self._signals.get(signal)
        if known is not None and known[0] == entry_key:
            return
        if known is None and len(self._signals) >= self._max_held:
            raise Overloaded(
                "Too many requests are waiting for a worker. Try again shortly.", retry_after_s=RETRY_AFTER_S
            )
        self._signals[signal] = entry_key, known[1] if known else asyncio.get_running_loop().time()
        self.on_change()

    def leave(self, signal: Signal) -> None:
        """Wait no longer."""
        if self._signals.pop(signal, None) is not None:
            self.on_change()

    def waiting(self) -> dict[str, Waiting]:
        """Who waits for each entry."""
        found: dict[str, Waiting] = {}
        for key, since_s in self._signals.values():
            known = found.get(key, Waiting(0, since_s))
            found[key] = Waiting(known.held + 1, min(known.oldest_s, since_s))
        return found

    def wake(self) -> None:
        """Something has changed."""
        for signal in tuple(self._signals):  # who is woken may leave at once
            signal.set()

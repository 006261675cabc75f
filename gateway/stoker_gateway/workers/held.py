"""The bounded queue of requests that no worker can take yet. Its depth is what scaling looks at."""

from stoker_gateway.errors import Overloaded
from stoker_gateway.workers.signal import Signal

RETRY_AFTER_S = 1


class HeldQueue:
    """Requests wait here by their signals; any change of the routing table or of readiness lets all look again."""

    def __init__(self, max_held: int) -> None:
        self._max_held = max_held
        self._signals: set[Signal] = set()

    def __len__(self) -> int:
        return len(self._signals)

    def enter(self, signal: Signal) -> None:
        """Wait from now on; entering twice is one wait. Raises Overloaded if the queue is full."""
        if signal not in self._signals and len(self._signals) >= self._max_held:
            raise Overloaded(
                "Too many requests are waiting for a worker. Try again shortly.", retry_after_s=RETRY_AFTER_S
            )
        self._signals.add(signal)

    def leave(self, signal: Signal) -> None:
        """Wait no longer."""
        self._signals.discard(signal)

    def wake(self) -> None:
        """Something has changed."""
        for signal in tuple(self._signals):  # who is woken may leave at once
            signal.set()

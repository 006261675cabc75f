"""Trying again: how often, how long to wait between, and when to stop."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stoker_worker.errors import FetchInterrupted, FetchStopped

T = TypeVar("T")
LONGEST_ASKED_S = 300.0


@dataclass(frozen=True, slots=True)
class Patience:
    """Waits that double from `first_s` up to `most_s`."""

    attempts: int = 8
    first_s: float = 0.5
    most_s: float = 30.0

    def wait_s(self, failures: int, asked_s: float | None, luck: float) -> float | None:
        """After that many failures in a row; None: give up.

        asked_s  what the source asks for; it is obeyed within reason
        luck     0…1: spreads those who failed together
        """
        if failures >= self.attempts:
            return None
        if asked_s is not None:
            return min(asked_s, LONGEST_ASKED_S)
        return float(min(self.most_s, self.first_s * 2 ** (failures - 1)) * (0.5 + luck / 2))


class Trying:
    """Runs what may fail for reasons that pass. `stop` ends every wait; `say` hears of failures."""

    def __init__(self, patience: Patience, stop: threading.Event, say: Callable[[str], None]) -> None:
        self._patience = patience
        self._stop = stop
        self._say = say

    def run(self, what: str, action: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
        """The action's result.

        reached  how far the action has ever come: a failure that came further than the one before starts the count anew
        Raises FetchInterrupted when patience is at its end, FetchStopped when `stop` is set.
        """
        failures, furthest = 0, reached()
        while True:
            try:
                return action()
            except FetchInterrupted as error:
                now = reached()
                failures, furthest = (1 if now > furthest else failures + 1), max(now, furthest)
                self._wait(what, error, failures)

    def _wait(self, what: str, error: FetchInterrupted, failures: int) -> None:
        if self._stop.is_set():
            raise FetchStopped
        wait_s = None if error.in_vain else self._patience.wait_s(failures, error.retry_after_s, random.random())
        if wait_s is None:
            tries = "" if error.in_vain or failures == 1 else f" ({failures} tries in a row)"
            raise FetchInterrupted(f"{what}: {error}{tries}; the next start goes on from here", in_vain=True)
        self._say(f"{what}: {error}; again in {wait_s:.1f} s (failure {failures} of {self._patience.attempts})")
        if self._stop.wait(wait_s):
            raise FetchStopped

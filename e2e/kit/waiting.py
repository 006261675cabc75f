"""Waiting for something to be so, with a deadline that tells what was there instead."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.1


class TooLate(AssertionError):
    """It did not come in time."""


def until(look: Callable[[], T], what: str, timeout_s: float, seen: Callable[[], object] | None = None) -> T:
    """The first truthy result of `look`. `seen` says, for the failure, what there is instead. Raises TooLate."""
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        if time.monotonic() > deadline:
            instead = f"; there is: {seen()}" if seen else ""
            raise TooLate(f"after {timeout_s:g} s still not: {what}{instead}")
        time.sleep(POLL_S)
    return found

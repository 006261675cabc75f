"""Waiting for a state, with a deadline."""

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], show: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Return as soon as `holds`; fail with what `show` says if it never does."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {show()}"
        time.sleep(0.05)

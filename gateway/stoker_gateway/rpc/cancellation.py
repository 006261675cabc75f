"""Cancellation that a task group has swallowed."""

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError if this task was told to end.

    A group that fails in the very turn in which its task is cancelled raises its own errors and no CancelledError: who
    catches them and goes on would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

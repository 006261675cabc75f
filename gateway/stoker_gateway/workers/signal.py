"""How events reach a request: its one task, or what listens in the task's place."""

import asyncio
from collections.abc import Callable


class Signal:
    """Something has happened. Any number of `set` before a `wait` are one; a single task waits."""

    __slots__ = ("_future", "_listener", "_loop", "_set")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set = False
        self._future: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None

    def set(self) -> None:
        """Call the listener, or wake the waiting task, or let the next `wait` return at once."""
        self._set = True
        if self._listener is not None:
            self._listener()
            return
        future = self._future
        if future is not None:
            self._future = None
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Return after the next `set`, or at once if there was one since the last return."""
        if not self._set:
            self._future = self._loop.create_future()
            await self._future
        self._set = False

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` from every `set`, which costs a tenth of waking a task; None ends that. It must not raise."""
        self._listener = listener

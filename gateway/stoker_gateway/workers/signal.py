"""How events reach the one task of a request."""

import asyncio


class Signal:
    """Something has happened. Any number of `set` before a `wait` are one; a single task waits."""

    __slots__ = ("_future", "_loop", "_set")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._set = False
        self._future: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the waiting task, or let the next `wait` return at once."""
        self._set = True
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

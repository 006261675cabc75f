"""Where usage events go."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Protocol

import msgspec

from stoker_core.usage import UsageEvent
from stoker_gateway.errors import SettingsError

SYNC_PERIOD_S = 1.0

log = logging.getLogger(__name__)


class UsageSink(Protocol):
    """Takes every event exactly once; never waits, never raises."""

    def record(self, event: UsageEvent) -> None:
        """Take an event."""
        ...

    async def written(self) -> None:
        """Return when everything recorded so far is where it survives the process."""
        ...

    async def run(self) -> None:
        """Do what is done in the background until cancelled."""
        ...

    async def aclose(self) -> None:
        """Everything that was recorded is safe after this."""
        ...


class DiscardSink:
    """For a gateway that was not told to keep usage."""

    def record(self, event: UsageEvent) -> None:
        """Forget it."""

    async def written(self) -> None:
        """Nothing is kept."""

    async def run(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


class JsonlSink:
    """Appends a JSON line per event to a file.

    Events wait for the end of the current turn of the loop at most, then all go out in one write to a file opened with
    O_APPEND: they survive the process from there, and the machine from the next fsync (each second, in a thread).
    A write that fails (a full disk) is tried again each second; its events stay in memory until then.
    """

    def __init__(self, path: Path) -> None:
        """Raises SettingsError if the file cannot be opened for appending."""
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"{path}: usage cannot be written there: {error.strerror}") from None
        self._path = path
        self._pending = bytearray()
        self._scheduled = False
        self._dirty = False
        self._encoder = msgspec.json.Encoder()

    def record(self, event: UsageEvent) -> None:
        """Take an event; it is in the file after this turn of the loop."""
        self._pending += self._encoder.encode(event.to_json()) + b"\n"
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def written(self) -> None:
        """Let the turn's write go first; after a write that failed there is no point in waiting."""
        if self._scheduled:
            await asyncio.sleep(0)

    def _flush(self) -> None:
        self._scheduled = False
        try:
            while self._pending:
                written = os.write(self._file, self._pending)
                del self._pending[:written]
                self._dirty = True
        except OSError as error:
            log.error("%s: usage waits in memory, the file cannot be written: %s", self._path, error.strerror)

    async def run(self) -> None:
        """Sync once a second until cancelled."""
        while True:
            await asyncio.sleep(SYNC_PERIOD_S)
            self._flush()
            await self._sync()

    async def _sync(self) -> None:
        if self._dirty:
            self._dirty = False
            await asyncio.to_thread(os.fsync, self._file)

    async def aclose(self) -> None:
        """Write, sync and close."""
        self._flush()
        await self._sync()
        os.close(self._file)

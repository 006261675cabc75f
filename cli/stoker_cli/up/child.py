"""One process that was started: its output into the shared log, its end, its last words."""

import asyncio
import ctypes
import os
import signal
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from stoker_cli.up.plan import ChildPlan

TAIL_LINES = 20
LINE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Log:
    """The log file that all processes of one `stoker up` write to, a line at a time, each named. Owned by `up`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("ab", buffering=0)

    def write(self, name: str, line: bytes) -> None:
        """Append one line."""
        self._file.write(b"%-9b| %b\n" % (name.encode(), line))

    def close(self) -> None:
        """No more lines."""
        self._file.close()


class Child:
    """A running process in a group of its own, so that a Ctrl-C on the terminal reaches only `up`."""

    def __init__(self, plan: ChildPlan, process: asyncio.subprocess.Process, log: Log) -> None:
        self.plan = plan
        self._process = process
        self._log = log
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, plan: ChildPlan, log: Log) -> "Child":
        """Start the process. It is told to stop if this one dies without a word."""
        process = await asyncio.create_subprocess_exec(
            *plan.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_stop_with_parent,
            limit=LINE_BYTES,
        )
        return cls(plan, process, log)

    async def wait(self) -> int:
        """The exit code, once it has ended; whatever it started has ended then, too."""
        code = await self._process.wait()
        self.kill()
        await asyncio.wait({self._reader}, timeout=1.0)
        self._reader.cancel()
        return code

    def terminate(self) -> None:
        """Ask it to finish."""
        if self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it, and whatever it started, at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    @property
    def tail(self) -> Iterable[str]:
        """Its last lines of output."""
        return tuple(self._tail)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            try:
                line = await self._process.stdout.readline()
            except ValueError:  # longer than LINE_BYTES; asyncio has dropped it
                line = b"(a line too long to log)\n"
            if not line:
                return
            self._tail.append(line.decode("utf-8", "replace").rstrip())
            self._log.write(self.plan.name, line.rstrip(b"\n"))


def _stop_with_parent() -> None:
    """Runs in the new process: SIGTERM when `up` dies, even if it is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

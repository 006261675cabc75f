"""Processes that a context manager owns: a log each, killed in the end, and an error that shows the log of the dead one."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

START_TIMEOUT_S = 60.0
POLL_S = 0.05
LOG_TAIL = 2000  # characters


class StartFailure(Exception):
    """A part did not come up; the text ends with its log."""


class Watched(Protocol):
    """Processes that may end too early."""

    def names(self) -> list[str]:
        """All of them."""

    def ended(self) -> list[str]:
        """Those that should not have ended."""

    def log(self, name: str) -> str:
        """The end of one's log."""


def wait_until(processes: Watched, ready: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
    """Poll `ready`. Raises StartFailure if a process ended meanwhile, or nothing came in time."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        for name in processes.ended():
            raise StartFailure(f"{name} ended:\n{processes.log(name)}")
        if time.monotonic() > deadline:
            logs = "\n".join(f"--- {name}\n{processes.log(name)}" for name in processes.names())
            raise StartFailure(f"{what}: not within {timeout_s:.0f} s\n{logs}")
        time.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Processes:
    """Children of this process by name, with logs below `folder`."""

    folder: Path
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Start each command under its name."""
        for name, command in commands.items():
            with (self.folder / f"{name}.log").open("wb") as log:
                self.children[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to one of them."""
        self.children[name].send_signal(number)

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Poll `ready`. Raises StartFailure if a process ended meanwhile, or nothing came in time."""
        wait_until(self, ready, what)

    def kill(self) -> None:
        """Kill all, the last started first, and wait for their ends: a polite end takes the API server seconds."""
        for process in reversed(self.children.values()):
            process.kill()
        for process in self.children.values():
            process.wait()

    def names(self) -> list[str]:
        """All of them."""
        return list(self.children)

    def ended(self) -> list[str]:
        """None of them should end before the block does."""
        return [name for name, process in self.children.items() if process.poll() is not None]

    def log(self, name: str) -> str:
        """The end of one's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-LOG_TAIL:]


@contextmanager
def owned(folder: Path) -> Iterator[Processes]:
    """Processes that do not outlive the block."""
    processes = Processes(folder)
    try:
        yield processes
    finally:
        processes.kill()

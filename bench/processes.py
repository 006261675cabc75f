"""Processes under test: started, watched through /proc, stopped with everything they started."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stoker_cli.errors import ServerFailure
from stoker_cli.http import Target, get

STOP_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, core: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, its output in `log`, pinned to `core` if given; stopped at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})}, start_new_session=True
        )
    if core is not None:  # long before the interpreter starts its first thread, and threads inherit it
        os.sched_setaffinity(process.pid, {core})
    try:
        yield process
    finally:
        _stop(process)


def stop_on_sigterm() -> None:
    """Let SIGTERM end this process like Ctrl-C does, so that what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


async def until_answering(process: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> float:
    """Seconds until `url` answers 200. Raises ServerFailure if the process ends or the time is up."""
    began = time.monotonic()
    target = Target.parse(url)
    while time.monotonic() - began < timeout_s:
        if process.poll() is not None:
            raise ServerFailure(f"{process.args!r} ended with {process.returncode}; its last words:\n{tail(log)}")
        with contextlib.suppress(ServerFailure):
            status, _ = await get(target, "")
            if status == 200:
                return time.monotonic() - began
        await asyncio.sleep(0.1)
    raise ServerFailure(f"{url} did not answer within {timeout_s:g} s; see {log}")


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def cpu_s(pid: int) -> float:
    """CPU seconds that a process (its threads, not its children) has used, to a hundredth."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S


def memory_mb(pid: int) -> float:
    """Proportional set size: private memory, and its share of what others map, too."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def group_memory_mb(pid: int) -> float:
    """`memory_mb` of a process and everything below it."""
    total = 0.0
    for member in _descendants(pid):
        with contextlib.suppress(OSError):
            total += memory_mb(member)
    return total


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _descendants(int(child))


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process, which stops its own; then SIGKILL to whatever is left of its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()

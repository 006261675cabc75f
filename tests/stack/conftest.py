"""The whole stack as a user runs it: `stoker up` with its gateway, worker and engine processes, over real sockets."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_TIMEOUT_S = 120


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Stack:
    """A running `stoker up`."""

    process: subprocess.Popen[str]
    url: str
    usage_file: Path
    log_file: Path
    banner: str

    def children(self, words: str) -> list[int]:
        """Ids of descendant processes whose command line holds `words`."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if entry.name.isdigit() and words in command and self._is_ours(int(entry.name)):
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
                continue
        return sorted(found)

    def _is_ours(self, pid: int) -> bool:
        while pid > 1:
            if pid == self.process.pid:
                return True
            pid = int(re.findall(r"PPid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])
        return False

    def stop(self, signum: int = signal.SIGINT) -> int:
        """Ask it to stop; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        return self.process.wait(60)


@contextmanager
def running_stack(folder: Path, *arguments: str) -> Iterator[Stack]:
    """Start `stoker up`, wait for its banner, and stop it in order afterwards."""
    port = free_port()
    usage_file, log_file = folder / "usage.jsonl", folder / "stoker.log"
    command = [sys.executable, "-m", "stoker_cli", "up", "--port", str(port), "--usage-file", str(usage_file)]
    command += ["--state-dir", str(folder / "state"), "--log-file", str(log_file), *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    stack = Stack(process, f"http://127.0.0.1:{port}", usage_file, log_file, "")
    try:
        stack.banner = _read_banner(process)
        yield stack
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def _read_banner(process: subprocess.Popen[str]) -> str:
    """What it prints until it says how to stop it; fails with all of it if it ends before."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            return "".join(lines)
    pytest.fail(f"`stoker up` ended with exit code {process.wait()}:\n{''.join(lines)}")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker with the default model, shared by the tests that leave it as it was."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def start_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """A stack of the test's own, with arguments for `stoker up`."""
    with ExitStack() as stacks:
        yield lambda *arguments: stacks.enter_context(running_stack(tmp_path, *arguments))

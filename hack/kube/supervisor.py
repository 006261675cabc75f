"""The machine's side of a node's first process: starts parts inside the node, signals them, and tells how they ended."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.kube import init
from hack.kube.processes import LOG_TAIL, StartFailure, wait_until

ENVIRONMENT = {"LANG": "C.UTF-8", "HOME": "/root"}
ANSWER_TIMEOUT_S = 10
RUN_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A node's processes by name; `folder` is what the node sees as `init.HOME`, with the logs in `logs/`."""

    folder: Path

    def boot(self, hostname: str, cgroups: list[init.Cgroup], path: str) -> None:
        """Make the namespaces and start their first process. `path` is every part's PATH. Raises StartFailure."""
        (self.folder / "logs").mkdir()
        (self.folder / "init.json").write_text(json.dumps(init.Plan(hostname=hostname, cgroups=cgroups)))
        command = [sys.executable, "-IS", init.__file__, "enter", str(self.folder)]
        with (self.folder / "logs" / "init.log").open("wb") as log:
            environment = ENVIRONMENT | {"PATH": path}
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, check=False
            )
        if done.returncode:
            raise StartFailure(f"the node's first process does not start:\n{self.log('init')}")

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a part; its log is logs/<name>.log. Raises StartFailure."""
        self._ask({"start": name, "command": list(command), "log": str(init.HOME / "logs" / f"{name}.log")})

    def signal(self, name: str, number: int) -> None:
        """Signal a part. Raises StartFailure if it does not run."""
        self._ask({"signal": name, "number": number})

    def run(self, name: str, command: Sequence[str]) -> None:
        """Start a command and wait for its end. Raises StartFailure with its log unless that is good."""
        self.start(name, command)
        try:
            wait_until(self, lambda: self.codes()[name] == 0, name, RUN_TIMEOUT_S)
        finally:
            self._ask({"forget": name})

    def codes(self) -> dict[str, int | None]:
        """How each part ended; None while it runs."""
        codes: dict[str, int | None] = self._ask({})["codes"]
        return codes

    def ended(self) -> list[str]:
        """Parts that have failed."""
        return [name for name, code in self.codes().items() if code]

    def names(self) -> list[str]:
        """Every part."""
        return list(self.codes())

    def log(self, name: str) -> str:
        """The end of a part's log."""
        return (self.folder / "logs" / f"{name}.log").read_text(errors="replace")[-LOG_TAIL:]

    def pid(self) -> int:
        """The first process, as the machine numbers it."""
        size = struct.calcsize("3i")
        with self._connection() as connection:
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            _exchange(connection, {})
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._connection() as connection:
            answer = _exchange(connection, request)
        if "error" in answer:
            raise StartFailure(f"the node's first process: {answer['error']}")
        return answer

    def _connection(self) -> socket.socket:
        """Through a file descriptor: a socket's path may have 107 bytes only, and folders may be deep."""
        folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(f"/proc/self/fd/{folder}/init.sock")
        except OSError:
            connection.close()
            raise
        finally:
            os.close(folder)
        return connection


def _exchange(connection: socket.socket, request: dict[str, Any]) -> dict[str, Any]:
    connection.sendall(json.dumps(request).encode() + b"\n")
    with connection.makefile() as lines:
        answer: dict[str, Any] = json.loads(lines.readline())
    return answer

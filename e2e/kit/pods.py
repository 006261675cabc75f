"""Pods as the API server tells of them, and their processes as the machine has them."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE = b"/pause"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. `plan` is the digest of what a worker runs."""

    name: str
    namespace: str
    uid: str
    ip: str
    plan: str
    ready: bool
    leaving: bool
    restarts: int

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Pod":
        metadata, status = found["metadata"], found.get("status", {})
        ready = {one["type"]: one["status"] for one in status.get("conditions", ())}.get("Ready") == "True"
        restarts = sum(one["restartCount"] for one in status.get("containerStatuses", ()))
        return cls(
            metadata["name"],
            metadata["namespace"],
            metadata["uid"],
            status.get("podIP", ""),
            metadata.get("labels", {}).get("stoker.dev/plan", ""),
            ready,
            "deletionTimestamp" in metadata,
            restarts,
        )


def kill(pod: Pod, *words: str) -> list[int]:
    """SIGKILL the pod's processes whose command line has all `words`; returns their numbers, as the machine counts them."""
    killed = []
    for pid, command in _processes(pod.uid):
        if command != [PAUSE] and all(word.encode() in command for word in words):
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
    return killed


def _processes(uid: str) -> Iterator[tuple[int, list[bytes]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"pod{uid}" in (folder / "cgroup").read_text():
                yield int(folder.name), (folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue

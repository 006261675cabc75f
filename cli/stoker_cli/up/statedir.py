"""The folder that a `stoker up` owns while it runs: one at a time, and the next one is told by whom."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stoker_cli.errors import BadInput

KEPT_LOGS = 5


@contextmanager
def locked(state_dir: Path) -> Iterator[Callable[[str], None]]:
    """Own `state_dir` (made if missing, 0700). The kernel gives the lock back however this process ends.

    What is yielded writes down the URL that is served here, for the next one who asks.

    Raises BadInput naming the process that owns it already.
    """
    path = state_dir / "up.lock"
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadInput(
            f"cannot use the state folder {state_dir}: {error.strerror}; choose another with --state-dir"
        ) from None
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(_taken(file.read(), state_dir)) from None

        def publish(url: str) -> None:
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"pid": os.getpid(), "url": url}))
            file.flush()

        publish("")
        try:
            yield publish
        finally:
            file.truncate(0)


def _taken(text: str, state_dir: Path) -> str:
    try:
        owner: dict[str, Any] = json.loads(text)
        who = f"pid {owner['pid']}, {owner['url'] or 'starting'}"
    except (ValueError, KeyError, TypeError):  # it has just begun or is just ending
        who = "starting or stopping"
    return (
        f"stoker is already running here ({who}); stop it first, "
        f"or start a second one with another --state-dir and --port (this one: {state_dir})"
    )


@contextmanager
def run_folder(parent: Path | None) -> Iterator[Path]:
    """A fresh private folder (0700) for sockets, removed at the end; short, since socket paths have 107 bytes at most."""
    path = Path(tempfile.mkdtemp(prefix="stoker-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def rotate(log: Path, keep: int = KEPT_LOGS) -> None:
    """Make room for a fresh `log`: the last one becomes NAME.1, and so on; `keep` of them stay.

    Raises BadInput if the folder cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        for number in range(keep - 1, -1, -1):
            old = log if number == 0 else log.with_name(f"{log.name}.{number}")
            if old.exists():
                old.replace(log.with_name(f"{log.name}.{number + 1}"))
        log.touch(mode=0o600)
    except OSError as error:
        raise BadInput(f"cannot write the log {log}: {error.strerror}; choose another with --log-file") from None

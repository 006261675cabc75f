"""Where things are kept on this machine: the XDG base folders, read from the environment once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """Paths only; nothing is created here.

    state    usage, logs, the lock of a running `stoker up`
    cache    downloads that can be made again
    runtime  parent of the private folder for sockets; None: the system's temporary folder
    """

    state: Path
    cache: Path
    runtime: Path | None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Folders":
        """Folders by the XDG base directory specification, which says to ignore relative paths."""
        home = Path(env.get("HOME") or "~").expanduser()

        def base(variable: str, default: Path) -> Path:
            given = Path(env.get(variable, ""))
            return (given if given.is_absolute() else default) / "stoker"

        runtime = Path(env.get("XDG_RUNTIME_DIR", ""))
        return cls(
            state=base("XDG_STATE_HOME", home / ".local" / "state"),
            cache=base("XDG_CACHE_HOME", home / ".cache"),
            runtime=runtime if runtime.is_absolute() and runtime.is_dir() else None,
        )


def folders() -> Folders:
    """The folders of the user who runs this process."""
    return Folders.from_env(os.environ)


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0))


def child_environment(**changes: str) -> dict[str, str]:
    """This process's environment with `changes`, for a process that is started."""
    return {**os.environ, **changes}

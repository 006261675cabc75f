"""The node's own cgroup in every hierarchy of the machine: limits for its pods, and the list of all its processes."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from hack.kube.init import Cgroup

CONTROLLERS = frozenset({"cpu", "cpuset", "io", "memory", "pids"})  # of version 2
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted hierarchy: `options` mount it again; `kind` is cgroup (version 1) or cgroup2."""

    mount: Path
    kind: str
    options: str


def hierarchies(mountinfo: str) -> list[Hierarchy]:
    """Those of version 1 if there are any, else the one of version 2 (a machine with both has its controllers in 1)."""
    found = [_hierarchy(line) for line in mountinfo.splitlines() if " - cgroup" in line]
    old = [hierarchy for hierarchy in found if hierarchy.kind == "cgroup"]
    return old or found


def create(name: str) -> list[Cgroup]:
    """Make the group `name` in every hierarchy. Raises FileExistsError if it is there already."""
    made: list[Cgroup] = []
    for hierarchy in hierarchies(MOUNTS.read_text()):
        group = hierarchy.mount / name
        group.mkdir()
        if hierarchy.kind == "cgroup2":
            _enable_controllers(hierarchy.mount)
        if "cpuset" in hierarchy.options.split(","):
            _share_all_cpus(hierarchy.mount, group)
        made.append(
            {
                "mount": str(hierarchy.mount),
                "kind": hierarchy.kind,
                "options": hierarchy.options,
                "group": str(group),
            }
        )
    return made


def settle(name: str) -> None:
    """Give the node its controllers. In version 2 a group with limits below it may hold no process itself: a leaf does."""
    for group in _groups(name):
        if (group / "cgroup.subtree_control").exists():
            (group / "init").mkdir()
            for pid in _pids(group / "cgroup.procs"):
                (group / "init" / "cgroup.procs").write_text(str(pid))
            _enable_controllers(group)


def exists(name: str) -> bool:
    """Whether the group is left in any hierarchy."""
    return any(group.exists() for group in _groups(name))


def processes(name: str) -> set[int]:
    """Every living process in the group and below it."""
    files = [file for group in _groups(name) for file in group.rglob("cgroup.procs")]
    return {pid for file in files for pid in _pids(file) if not _ended(pid)}


def kill(name: str) -> set[int]:
    """Kill what is in the group, and nothing else; returns whom, empty if all is gone."""
    found = processes(name)
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found


def remove(name: str) -> bool:
    """Remove the group and those below it, as far as they are empty; returns whether nothing is left."""
    for group in _groups(name):
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:  # still busy: the caller asks again
                continue
    return not exists(name)


def _groups(name: str) -> list[Path]:
    return [hierarchy.mount / name for hierarchy in hierarchies(MOUNTS.read_text())]


def _hierarchy(line: str) -> Hierarchy:
    left, _, right = line.partition(" - ")
    kind, _, options = right.split()[:3]
    if kind == "cgroup2":
        return Hierarchy(Path(left.split()[4]), kind, "rw")
    wanted = [option for option in options.split(",") if option not in ("rw", "ro", "xattr")]
    named = any(option.startswith("name=") for option in wanted)
    return Hierarchy(Path(left.split()[4]), kind, ",".join(["none", *wanted] if named else wanted))


def _enable_controllers(group: Path) -> None:
    """Let the groups below have limits. On a machine's root group systemd has done so for most at boot."""
    names = {file: set((group / f"cgroup.{file}").read_text().split()) for file in ("controllers", "subtree_control")}
    missing = CONTROLLERS & names["controllers"] - names["subtree_control"]
    if missing:
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _share_all_cpus(root: Path, group: Path) -> None:
    """A new group of this kind is empty, and takes no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        (group / name).write_text((root / name).read_text())
    (group / "cgroup.clone_children").write_text("1")


def _pids(file: Path) -> list[int]:
    try:
        return [int(pid) for pid in file.read_text().split()]
    except OSError:  # the group ended meanwhile
        return []


def _ended(pid: int) -> bool:
    """Gone, or a zombie that its parent has not collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True

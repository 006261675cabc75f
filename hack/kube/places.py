"""A node's place on the machine: taken, found and given back, whatever became of the process that took it."""

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from hack.kube import cgroups, machine, records
from hack.kube.processes import POLL_S, StartFailure
from hack.kube.records import AlreadyRunning, Record
from hack.kube.site import Site

STOP_TIMEOUT_S = 30
LOGS = "logs"  # they stay when the rest of a node's folder goes


def claim(site: Site, record: Record) -> None:
    """Take a node's number; what an owner that was killed left behind is removed first. Raises Unfit, AlreadyRunning."""
    machine.check(site)
    known = records.read(site)
    if known and known.orphaned:
        stop(site)
    elif not known and left(site):
        raise AlreadyRunning(f"{', '.join(left(site))} of {site.name} is left: `make cluster-down` removes it")
    records.create(site, record)


def claim_any(sites: Iterable[Site], record: Record) -> Site:
    """Take the first number that is free. Raises Unfit, AlreadyRunning if none is."""
    taken = []
    for site in sites:
        try:
            claim(site, record)
        except AlreadyRunning as refusal:
            taken.append(str(refusal))
            continue
        return site
    raise AlreadyRunning("; ".join(taken))


def stop(site: Site, *, keep_logs: bool = True) -> None:
    """Remove a node, whole or in pieces, with all in its folder but the logs. Raises StartFailure if something stays."""
    record = records.read(site)
    _until(lambda: not cgroups.kill(site.name), "processes of the node are still there")
    machine.unplug(site)
    _until(lambda: cgroups.remove(site.name), "cgroups of the node are still there")
    if record:
        folder = Path(record.folder)
        for path in [path for path in folder.glob("*") if path.name != LOGS] if keep_logs else [folder]:
            remove(path)
    records.remove(site)


def left(site: Site) -> list[str]:
    """What of a node is on the machine, in words."""
    found = {"a cgroup": cgroups.exists(site.name), "a network interface": machine.plugged(site)}
    return [what for what, there in found.items() if there]


def _until(done: Callable[[], bool], trouble: str) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not done():
        if time.monotonic() > deadline:
            raise StartFailure(trouble)
        time.sleep(POLL_S)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

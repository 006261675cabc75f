"""Who started a node and where its files are: the note by which a later process finds and removes it."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.kube.site import Site

FOLDER = Path("/run")  # what is noted there ends with the machine, as nodes do


class AlreadyRunning(Exception):
    """A node of this number is there; the text is what to do."""


@dataclass(frozen=True, slots=True)
class Record:
    """`owner` is the process that ends the node, with its start time in clock ticks; 0, 0 if the node is to stay."""

    folder: str
    owner: int
    owner_started: int

    @classmethod
    def mine(cls, folder: Path) -> "Record":
        """The calling process is the owner."""
        return cls(str(folder.resolve()), os.getpid(), _started(os.getpid()))

    @classmethod
    def kept(cls, folder: Path) -> "Record":
        """The node stays when the calling process ends."""
        return cls(str(folder.resolve()), 0, 0)

    @property
    def orphaned(self) -> bool:
        """The owner ended without ending the node."""
        return bool(self.owner) and _started(self.owner) != self.owner_started


def create(site: Site, record: Record) -> None:
    """Claim a node's number. Raises AlreadyRunning."""
    try:
        with _path(site).open("x") as file:
            json.dump(asdict(record), file)
    except FileExistsError:
        raise AlreadyRunning(_described(site, read(site))) from None


def replace(site: Site, record: Record) -> None:
    """Change the note."""
    fresh = _path(site).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(record)))
    fresh.replace(_path(site))


def read(site: Site) -> Record | None:
    """The note, None if there is none or a half-written one."""
    try:
        return Record(**json.loads(_path(site).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def remove(site: Site) -> None:
    """Forget it."""
    _path(site).unlink(missing_ok=True)


def _path(site: Site) -> Path:
    return FOLDER / f"{site.name}.json"


def _described(site: Site, record: Record | None) -> str:
    if record and record.owner:
        return f"{site.name} belongs to process {record.owner}, which is still running"
    return f"{site.name} is up already: `make cluster-down` removes it"


def _started(pid: int) -> int:
    """When a process started, 0 if there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0

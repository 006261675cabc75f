"""The folder that a model is fetched into: what is complete, what is half here, and how one becomes the other.

    NAME                    checked, or about to be
    .fetch/NAME.ab12.part   bytes so far of the content whose digest begins with ab12
    .fetch/NAME.json        NAME was checked: its manifest entry
    stoker-manifest.json    everything was; .fetch is gone

Each step is one rename or one small file, made durable before the next: a kill between any two loses at most a check.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from stoker_worker.errors import SourceError
from stoker_worker.fetch import manifest
from stoker_worker.fetch.manifest import Entry, Manifest
from stoker_worker.fetch.store import RemoteFile

STATE = ".fetch"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Folder:
    """One folder, written by one process. Everything raises SourceError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = path / STATE

    def complete(self, source: str, revision: str) -> Manifest | None:
        """The manifest, if it is of that source and every file has its size."""
        found = _manifest_in(self.path)
        if found is None or (found.source, found.revision) != (source, revision):
            return None
        return found if all(_size(self.path / entry.name) == entry.size for entry in found.files) else None

    def prepare(self, files: Collection[RemoteFile]) -> None:
        """Make room for these files: what belongs to others goes, what may be theirs is kept to be checked."""
        for folder in {self._state, *((self.path / file.name).parent for file in files)}:
            _make(folder)
        for path in list(self._leftovers(files)):
            path.unlink()
        (self.path / manifest.NAME).unlink(missing_ok=True)
        for file in files:
            self._take_back(file)

    def part(self, file: RemoteFile) -> Path:
        """Where a file's bytes gather."""
        content = hashlib.sha256(f"{file.digest} {file.etag} {file.size}".encode()).hexdigest()[:8]
        return self._state / f"{_flat(file.name)}.{content}.part"

    def open_part(self, file: RemoteFile) -> BinaryIO:
        """To read and append; a link in its place is refused."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.part(file), flags, 0o644), "r+b", buffering=0)

    def held_bytes(self, file: RemoteFile) -> int:
        """How much of it is here, checked or not."""
        return file.size if self.checked(file) else min(_size(self.part(file)) or 0, file.size)

    def checked(self, file: RemoteFile) -> Entry | None:
        """Its entry, if it lies here and was found to be what the source says now."""
        try:
            entry = Entry(**json.loads(self._marker(file).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        fits = entry.digest == str(file.digest) and entry.size == file.size == _size(self.path / file.name)
        return entry if fits else None

    def accept(self, file: RemoteFile, sha256: str) -> Entry:
        """Put a part that was checked, and is on the disk, in its place."""
        entry = Entry(file.name, file.size, sha256, str(file.digest))
        self._marker(file).unlink(missing_ok=True)
        self.part(file).replace(self.path / file.name)
        _sync((self.path / file.name).parent)
        _write(self._marker(file), json.dumps(asdict(entry)))
        return entry

    def finish(self, made: Manifest) -> None:
        """Every file is in its place: say so."""
        _write(self.path / manifest.NAME, made.to_json())
        shutil.rmtree(self._state)

    def free_bytes(self) -> int:
        """That this process may still write to the disk under the folder."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def _leftovers(self, files: Collection[RemoteFile]) -> Iterator[Path]:
        """State and model files of something else that was fetched here before; nobody else's files."""
        keep = {self.part(file) for file in files} | {self._marker(file) for file in files}
        yield from (path for path in self._state.iterdir() if path not in keep)
        wanted = {file.name for file in files}
        yield from (self.path / name for name in self._fetched() - wanted if _size(self.path / name) is not None)

    def _fetched(self) -> set[str]:
        """Names that an earlier run put here. They were checked before they were written down, as are these."""
        before = _manifest_in(self.path)
        names = {entry.name for entry in before.files} if before else set()
        for path in self._state.glob("*.json"):
            names.add(path.name.removesuffix(".json").replace("%2F", "/").replace("%25", "%"))
        return {name for name in names if not {"", ".", ".."} & set(name.split("/"))}

    def _take_back(self, file: RemoteFile) -> None:
        """A file without a marker was put there in the moment of a kill, or by somebody else: it is checked again."""
        place = self.path / file.name
        if place.is_symlink():
            raise SourceError(f"{place} is a symbolic link: remove it, weights are fetched into plain files only")
        if not self.checked(file) and not self.part(file).exists() and _size(place) == file.size:
            place.replace(self.part(file))

    def _marker(self, file: RemoteFile) -> Path:
        return self._state / f"{_flat(file.name)}.json"


def _manifest_in(path: Path) -> Manifest | None:
    try:
        return Manifest.from_json((path / manifest.NAME).read_text())
    except (OSError, UnicodeDecodeError):
        return None


def room_error(path: Path, needed: int, free: int) -> SourceError:
    """For whoever gives the pod its volume."""
    return SourceError(
        f"not enough space in {path}: {in_units(needed)} more are needed and {in_units(free)} are free; "
        "give the volume, or the node's disk, more room"
    )


def in_units(count: int) -> str:
    """Bytes as people read them: powers of 1000, three digits."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def _flat(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _size(path: Path) -> int | None:
    """Of a plain file; None for anything else."""
    return path.stat().st_size if path.is_file() and not path.is_symlink() else None


def _make(folder: Path) -> None:
    if folder.is_symlink():
        raise SourceError(f"{folder} is a symbolic link: remove it, weights are fetched into plain folders only")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"{folder} cannot be made: {error.strerror}") from None


def _write(path: Path, text: str) -> None:
    """Atomic and durable."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def make_durable(part: BinaryIO) -> None:
    """Its bytes survive the machine."""
    os.fsync(part.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

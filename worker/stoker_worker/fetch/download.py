"""One file from a store into the folder: from where it was left, checked, at most twice over."""

import threading
from collections.abc import Iterator
from typing import BinaryIO

from stoker_worker.errors import FetchInterrupted, FetchStopped, SourceError
from stoker_worker.fetch.digests import Check
from stoker_worker.fetch.folder import Folder, make_durable
from stoker_worker.fetch.manifest import Entry
from stoker_worker.fetch.patience import Trying
from stoker_worker.fetch.progress import Progress
from stoker_worker.fetch.store import CHUNK_BYTES, RemoteFile, Store


class Download:
    """What the downloads of one run share. `stop` is set when one of them failed for good: the others end, too."""

    def __init__(self, store: Store, folder: Folder, progress: Progress, trying: Trying, stop: threading.Event) -> None:
        self._store = store
        self._folder = folder
        self._progress = progress
        self._trying = trying
        self._stop = stop

    def __call__(self, file: RemoteFile) -> Entry:
        """The file, in its place and checked. Raises SourceError or FetchInterrupted."""
        entry = self._folder.checked(file)
        if entry:
            self._progress.add(file.size)
        else:
            entry = self._once(file) or self._once(file)
        if entry is None:
            raise SourceError(
                f"{file.name} arrived twice with another content than the source says ({file.digest}): "
                "it is damaged there, or changed on the way"
            )
        self._progress.file_done()
        return entry

    def _once(self, file: RemoteFile) -> Entry | None:
        """All bytes, over as many tries as that takes; None, and nothing kept, if they are the wrong ones."""
        with self._folder.open_part(file) as part:
            pull = _Pull(self._store, file, part, self._progress, self._stop)
            self._trying.run(file.name, pull.go_on, lambda: pull.furthest)
            if not pull.check.passes():
                pull.start_over()
                return None
            make_durable(part)
        return self._folder.accept(file, pull.check.sha256)


class _Pull:
    """A file's bytes on their way.

    check     has seen what the part holds
    furthest  the most bytes that the part ever held
    """

    def __init__(
        self, store: Store, file: RemoteFile, part: BinaryIO, progress: Progress, stop: threading.Event
    ) -> None:
        self._store, self._file, self._part = store, file, part
        self._progress, self._stop = progress, stop
        self._held = self.furthest = 0
        self.check = Check(file.size, file.digest)
        self._read_again()

    def go_on(self) -> None:
        """Everything that is still missing. Raises FetchInterrupted if it ends early; what came stays."""
        if self._held == self._file.size:
            return
        with self._store.reading(self._file, self._held) as answer:
            if answer.first != self._held:
                self.start_over()
            for data in answer.chunks:
                self._append(data)
        if self._held < self._file.size:
            raise FetchInterrupted(f"the answer ended {self._file.size - self._held} bytes early")

    def start_over(self) -> None:
        """Throw away what is here."""
        self._part.truncate(0)
        self._progress.add(-self._held)
        self._held = 0
        self.check = Check(self._file.size, self._file.digest)

    def _read_again(self) -> None:
        """What an earlier start left in the part; more than the file has cannot be of it."""
        for data in _chunks(self._part):
            self._stop_if_told()
            self._count(data)
        if self._held > self._file.size:
            self.start_over()

    def _append(self, data: bytes) -> None:
        self._stop_if_told()
        if self._held + len(data) > self._file.size:
            raise FetchInterrupted("the answer is longer than the source says", in_vain=True)
        view = memoryview(data)
        while view:
            written = self._part.write(view)
            self._count(view[:written])
            view = view[written:]

    def _count(self, data: bytes | memoryview) -> None:
        self.check.update(data)
        self._held += len(data)
        self.furthest = max(self.furthest, self._held)
        self._progress.add(len(data))

    def _stop_if_told(self) -> None:
        if self._stop.is_set():
            raise FetchStopped


def _chunks(part: BinaryIO) -> Iterator[bytes]:
    part.seek(0)
    while data := part.read(CHUNK_BYTES):
        yield data

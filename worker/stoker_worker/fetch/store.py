"""What a source of files is to those who fetch from it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from stoker_worker.fetch.digests import Digest

# What is lost at most where a connection breaks.
CHUNK_BYTES = 1 << 18
CONNECT_S, READ_S = 10.0, 30.0


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`name` as it will lie in the folder; `etag` as S3 tells it, quotes and all, or ""."""

    name: str
    size: int
    digest: Digest
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that lies at the source. `commit` is what its revision means today, or ""."""

    files: Mapping[str, RemoteFile]
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A file's bytes from `first` on, which a source may begin earlier than asked."""

    first: int
    chunks: Iterator[bytes]


class Store(Protocol):
    """A hub or a bucket. Everything raises SourceError for what must be changed, FetchInterrupted for what passes."""

    def listing(self) -> Listing:
        """What lies there."""
        ...

    def pinned(self, file: RemoteFile) -> RemoteFile:
        """The same file with the best digest that the source tells of it."""
        ...

    def reading(self, file: RemoteFile, first: int) -> AbstractContextManager[Answer]:
        """The file from a byte on; the answer is closed at the end."""
        ...


def first_byte(status: int, content_range: str, asked: int) -> int | None:
    """Where the body of an answer begins, by its status and Content-Range; None where they make no sense."""
    if status == 200:
        return 0
    unit, _, rest = content_range.partition(" ")
    first = rest.partition("-")[0]
    return asked if status == 206 and unit == "bytes" and first.isdecimal() and int(first) == asked else None

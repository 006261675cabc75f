"""What a source says of a file's content, and the check that it arrived."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    r"""How content is named.

    GIT_SHA1   of the hub's small files: SHA-1 over "blob SIZE\0" and the content
    MD5_PARTS  of multipart uploads to S3: MD5 over the parts' MD5s, "-" and their number
    SIZE       the source tells nothing but the length
    """

    SHA256 = "sha256"
    GIT_SHA1 = "git-sha1"
    MD5 = "md5"
    MD5_PARTS = "md5-parts"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Digest:
    """`value` in lower-case hex; `part_bytes` of MD5_PARTS, else 0."""

    kind: Kind
    value: str = ""
    part_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else str(self.kind)


class Check:
    """Follows a file's bytes from the first one to the last."""

    def __init__(self, size: int, expected: Digest) -> None:
        self._size = size
        self._expected = expected
        self._seen = 0
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._parts: list[bytes] = []

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        self._seen += len(data)
        self._sha256.update(data)
        match self._expected.kind:
            case Kind.GIT_SHA1:
                self._sha1.update(data)
            case Kind.MD5:
                self._md5.update(data)
            case Kind.MD5_PARTS:
                self._update_parts(data)

    @property
    def sha256(self) -> str:
        """Of everything so far, in hex."""
        return self._sha256.hexdigest()

    def passes(self) -> bool:
        """All bytes were seen, and they are what the source said."""
        return self._seen == self._size and self._found() == self._expected.value

    def _found(self) -> str:
        match self._expected.kind:
            case Kind.SHA256:
                return self.sha256
            case Kind.GIT_SHA1:
                return self._sha1.hexdigest()
            case Kind.MD5:
                return self._md5.hexdigest()
            case Kind.MD5_PARTS:
                return self._found_parts()
            case Kind.SIZE:
                return ""

    def _update_parts(self, data: bytes | memoryview) -> None:
        start = self._seen - len(data)
        view = memoryview(data)
        while view:
            room = self._expected.part_bytes - start % self._expected.part_bytes
            self._md5.update(view[:room])
            start += len(view[:room])
            view = view[room:]
            if start % self._expected.part_bytes == 0:
                self._end_part()

    def _end_part(self) -> None:
        self._parts.append(self._md5.digest())
        self._md5 = hashlib.md5(usedforsecurity=False)

    def _found_parts(self) -> str:
        last = [] if self._size % self._expected.part_bytes == 0 else [self._md5.digest()]
        parts = [*self._parts, *last]
        return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"

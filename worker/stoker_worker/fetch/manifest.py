"""What lies complete in a folder, and where it came from: written last, so that its presence means "done"."""

import json
from dataclasses import asdict, dataclass
from typing import Any

NAME = "stoker-manifest.json"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it was checked. `digest`: what the source said of it; `sha256`: what was computed here."""

    name: str
    size: int
    sha256: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`revision` as it was asked for, `commit` what it meant; both "" for buckets."""

    source: str
    revision: str
    commit: str
    files: tuple[Entry, ...]

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(entry.size for entry in self.files)

    def to_json(self) -> str:
        """As it is written."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest | None":
        """None for anything but what `to_json` writes."""
        try:
            value: dict[str, Any] = json.loads(text)
            if value.pop("version") != VERSION:
                return None
            entries = tuple(Entry(**entry) for entry in value.pop("files"))
            return cls(**value, files=entries)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

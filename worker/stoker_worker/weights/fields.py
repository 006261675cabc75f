"""Typed access to parsed documents (config.json, GGUF metadata), with errors that name file, key and value."""

from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from stoker_worker.errors import ModelFileError


class Fields:
    """One document's values. A value of null counts as missing; a missing value without a default raises ModelFileError."""

    def __init__(self, path: Path, values: Mapping[str, Any], prefix: str = "", within: str = "") -> None:
        """`prefix` is put before every key, as GGUF puts the architecture's name; `within` leads to a nested document."""
        self.path = path
        self._values = values
        self._prefix = prefix
        self._within = within

    def has(self, key: str) -> bool:
        """Whether there is a value, null not counted."""
        return self._values.get(self._prefix + key) is not None

    def mentions(self, key: str) -> bool:
        """Whether the document has the key, be its value null."""
        return self._prefix + key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def raw(self, key: str) -> Any:
        """The value as it was parsed, None where there is none."""
        return self._values.get(self._prefix + key)

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number that is at least `least`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(key, f"a whole number from {least}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._value(key, default)
        if not _is_number(value):
            raise self.wrong(key, "a number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def array(self, key: str) -> list[Any]:
        """A list; empty if there is none."""
        value = self._value(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "a list")
        return value

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers; empty if there is none."""
        values = self.array(key)
        if not all(map(_is_number, values)):
            raise self.wrong(key, "a list of numbers")
        return tuple(map(float, values))

    def strings(self, key: str) -> list[str]:
        """A list of strings; empty if there is none."""
        values = self.array(key)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, "a list of strings")
        return values

    def child(self, key: str) -> "Fields":
        """A nested document; empty if there is none."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return Fields(self.path, value, within=f"{self._name(key)}.")

    def wrong(self, key: str, expected: str) -> ModelFileError:
        """The error for a value that is not `expected`."""
        shown = f"{self.raw(key)!r:.80}"
        return ModelFileError(self.path, f"{self._name(key)} must be {expected}, it is {shown}")

    def _name(self, key: str) -> str:
        return f"{self._within}{self._prefix}{key}"

    def _value(self, key: str, default: Any) -> Any:
        value = self.raw(key)
        if value is not None:
            return value
        if default is None:
            raise ModelFileError(self.path, f"{self._name(key)} is missing")
        return default


def _is_number(value: Any) -> bool:
    """Whether a float can hold it: JSON knows NaN and whole numbers of any length."""
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64

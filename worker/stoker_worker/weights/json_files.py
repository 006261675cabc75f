"""Reads the JSON files of a Hugging Face folder."""

import json
from pathlib import Path
from typing import Any

from stoker_worker.errors import ModelFileError


def read_json(path: Path) -> dict[str, Any]:
    """The object that a file holds. Raises ModelFileError if it is missing, unreadable, no JSON or no object."""
    return parse_json(path, read_bytes(path))


def read_json_if_there(path: Path) -> dict[str, Any]:
    """Like `read_json`, but {} where there is no such file."""
    return read_json(path) if path.exists() else {}


def parse_json(path: Path, data: bytes) -> dict[str, Any]:
    """The object in `data`, which came from `path`. Raises ModelFileError."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(path, f"is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise ModelFileError(path, f"must hold a JSON object, it holds a {type(value).__name__}")
    return value


def read_bytes(path: Path) -> bytes:
    """A small file whole. Raises ModelFileError if it is missing or unreadable."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(path, "is missing from the model folder") from error
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from error

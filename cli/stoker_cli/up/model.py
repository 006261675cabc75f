"""Which weights to serve, and under which names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stoker_cli.errors import BadInput
from stoker_core.names import DEFAULT_MODEL_ALIASES, DEFAULT_MODEL_ID


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Weights on disk and the names they are served under."""

    path: Path
    model_id: str
    aliases: tuple[str, ...]


def serve_as(path: Path | None, model_id: str | None, aliases: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Model id and aliases for the weights at `path` (None: the embedded default), where not given by the user."""
    if model_id is None and path is None:
        return DEFAULT_MODEL_ID, (*DEFAULT_MODEL_ALIASES, *aliases)
    if model_id is None:
        assert path is not None
        name = _slug(path.name.removesuffix(".gguf"))
        return f"accounts/local/models/{name}", (name, *aliases)
    return model_id, tuple(aliases)


def check_path(path: Path) -> Path:
    """`path` made absolute, if weights can be there. Raises BadInput; what is in them is the worker's to judge."""
    if not path.exists():
        raise BadInput(f"{path} does not exist; --model takes a GGUF file or a Hugging Face folder")
    if path.is_dir() and not (path / "config.json").exists():
        raise BadInput(f"{path} has no config.json; --model takes a GGUF file or a Hugging Face folder")
    return path.absolute()


def _slug(name: str) -> str:
    """`name` as the last part of a model id; a worker that is given no id makes the same one."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.") or "model"

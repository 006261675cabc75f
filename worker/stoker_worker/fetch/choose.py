"""Which of a source's files make up its model. Everything else, above all code and pickles, stays where it is."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from stoker_worker.errors import SourceError
from stoker_worker.fetch.settings import GGUF
from stoker_worker.weights.hf_text import TEMPLATE_FOLDER, TEXT_FILES
from stoker_worker.weights.safetensors_source import INDEX, PICKLES, SINGLE

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
NEEDED = (CONFIG, TOKENIZER)
SHOWN = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """`names` to fetch; `index` is the one among them that names further weight files, or ""."""

    names: tuple[str, ...]
    index: str = ""


def choose(names: Collection[str], file: str = "") -> Choice:
    """The files of the model, or of the GGUF `file`. Raises SourceError where no model is, or more than one."""
    for name in names:
        _check_name(name)
    if file:
        return _named(names, file)
    if SINGLE in names or INDEX in names:
        return _safetensors(names)
    return _gguf(names)


def shards(index: bytes, names: Collection[str]) -> tuple[str, ...]:
    """The weight files that an index lists, in order. Raises SourceError."""
    try:
        listed = sorted({str(shard) for shard in json.loads(index)["weight_map"].values()})
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise SourceError(f"{INDEX} is malformed: it must map tensors to files in weight_map") from None
    for shard in listed:
        if "/" in shard or not shard.endswith(".safetensors"):
            raise SourceError(f"{INDEX} names {shard!r}, which is no safetensors file beside it")
        if shard not in names:
            raise SourceError(f"{INDEX} names {shard}, which is not there: upload it, or choose another revision")
    if not listed:
        raise SourceError(f"{INDEX} lists no weights")
    return tuple(listed)


def _check_name(name: str) -> None:
    """Nothing that could lead out of the folder, anywhere in the source: whoever made it meant harm."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or not name.isprintable():
        raise SourceError(
            f"the source holds a file named {name!r}: such names are refused, and the whole source with them"
        )


def _safetensors(names: Collection[str]) -> Choice:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise SourceError(f"there are weights but no {' and no '.join(missing)}: a model needs both beside its weights")
    texts = [name for name in (CONFIG, *TEXT_FILES) if name in names]
    templates = sorted(name for name in names if PurePosixPath(name).match(f"{TEMPLATE_FOLDER}/*.jinja"))
    flat = [name for name in templates if name.count("/") == 1]
    if SINGLE in names:
        return Choice((*texts, *flat, SINGLE))
    return Choice((*texts, *flat, INDEX), index=INDEX)


def _gguf(names: Collection[str]) -> Choice:
    """Of a source without safetensors under their usual names."""
    found = sorted(name for name in names if "/" not in name and name.endswith(GGUF))
    match found:
        case [only]:
            return _named(names, only)
        case [_, *_]:
            raise SourceError(
                f"there are several GGUF files ({_some(found)}): name one, as in hf://OWNER/NAME/{found[0]}"
            )
    pickled = sorted(name for name in names if any(PurePosixPath(name).match(pattern) for pattern in PICKLES))
    if pickled:
        raise SourceError(
            f"there are only pickled weights ({_some(pickled)}), which can run code when loaded and are never fetched: "
            "convert them to safetensors, or choose another source"
        )
    raise SourceError(
        f"there is no model: neither {SINGLE}, nor {INDEX}, nor a {GGUF} file (found: {_some(sorted(names))})"
    )


def _named(names: Collection[str], file: str) -> Choice:
    if file not in names:
        there = sorted(name for name in names if name.endswith(GGUF))
        raise SourceError(f"there is no {file}; GGUF files there: {_some(there)}")
    if "-of-0" in file:
        raise SourceError(f"{file} is one part of a split model: join the parts with llama-gguf-split --merge")
    return Choice((file,))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more

"""The text files of a Hugging Face folder → the text side of a model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stoker_core.text import TextBundle
from stoker_worker.errors import ModelFileError
from stoker_worker.weights.fields import Fields
from stoker_worker.weights.json_files import read_bytes, read_json, read_json_if_there

TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_FOLDER = "additional_chat_templates"
TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    TEMPLATE_FILE,
)

_SAMPLING_KEYS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def text_files(folder: Path) -> Iterator[Path]:
    """Those files of the text side that exist, in a fixed order."""
    named = (folder / name for name in TEXT_FILES)
    yield from (path for path in named if path.exists())
    yield from sorted((folder / TEMPLATE_FOLDER).glob("*.jinja"))


def read_text(folder: Path) -> TextBundle:
    """The bundle. Raises ModelFileError where tokenizer.json is missing or a file is malformed."""
    tokenizer = Fields(folder / "tokenizer.json", read_json(folder / "tokenizer.json"))
    config = Fields(folder / "tokenizer_config.json", _tokenizer_config(folder))
    special = dict(_special_tokens(config))
    bos, eos = special.pop("bos_token", ""), special.pop("eos_token", "")
    generation = Fields(folder / "generation_config.json", read_json_if_there(folder / "generation_config.json"))
    return TextBundle(
        # Lengths are the gateway's to limit: a tokenizer that cuts or pads would do it silently.
        tokenizer={key: tokenizer.raw(key) for key in tokenizer} | {"truncation": None, "padding": None},
        chat_templates=_chat_templates(folder, config),
        bos_token=bos,
        eos_token=eos,
        stop_token_ids=_stop_token_ids(folder, generation, tokenizer, eos),
        special_tokens=special,
        add_bos=bool(bos) and config.flag("add_bos_token", _begins_with(tokenizer, bos)),
        generation={key: generation.number(key) for key in _SAMPLING_KEYS if generation.has(key)},
    )


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json over the special_tokens_map.json of older folders."""
    older = read_json_if_there(folder / "special_tokens_map.json")
    newer = read_json_if_there(folder / "tokenizer_config.json")
    return older | {key: value for key, value in newer.items() if value is not None}


def _special_tokens(config: Fields) -> Iterator[tuple[str, str]]:
    """(name, text) of each token that the configuration names, written plainly or as an AddedToken."""
    for key in config:
        value = config.raw(key)
        text = value.get("content") if isinstance(value, dict) else value
        if key.endswith("_token") and isinstance(text, str):
            yield key, text


def _chat_templates(folder: Path, config: Fields) -> dict[str, str]:
    """Templates by name; files win over tokenizer_config.json, as in transformers."""
    templates = _config_templates(config)
    for path in sorted((folder / TEMPLATE_FOLDER).glob("*.jinja")):
        templates[path.stem] = _template(path)
    if (folder / TEMPLATE_FILE).exists():
        templates["default"] = _template(folder / TEMPLATE_FILE)
    return templates


def _config_templates(config: Fields) -> dict[str, str]:
    value = config.raw("chat_template")
    if value is None:
        return {}
    if isinstance(value, str):
        return {"default": value}
    try:
        return {str(entry["name"]): str(entry["template"]) for entry in value}
    except (TypeError, KeyError) as error:
        raise config.wrong("chat_template", "a string or a list of {name, template}") from error


def _template(path: Path) -> str:
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(path, "is not UTF-8 text") from error


def _stop_token_ids(folder: Path, generation: Fields, tokenizer: Fields, eos: str) -> tuple[int, ...]:
    """What generation_config.json lists, else config.json; and the tokenizer's own eos."""
    config = Fields(folder / "config.json", read_json_if_there(folder / "config.json"))
    ids = _eos_ids(generation) or _eos_ids(config)
    own = _token_id(tokenizer, eos)
    return tuple(dict.fromkeys(ids if own is None else [*ids, own]))


def _eos_ids(fields: Fields) -> list[int]:
    value = fields.raw("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token_id, int) and token_id >= 0 for token_id in ids):
        raise fields.wrong("eos_token_id", "a token id or a list of them")
    return ids


def _token_id(tokenizer: Fields, text: str) -> int | None:
    """The id of a token, by the added tokens first."""
    try:
        added = {token["content"]: int(token["id"]) for token in tokenizer.array("added_tokens")}
    except (KeyError, TypeError, ValueError) as error:
        raise tokenizer.wrong("added_tokens", "a list of tokens with content and id") from error
    vocab = tokenizer.child("model").raw("vocab")
    return added.get(text, vocab.get(text) if isinstance(vocab, dict) else None)


def _begins_with(tokenizer: Fields, token: str) -> bool:
    """Whether the tokenizer's own template puts `token` before a text."""
    outer = tokenizer.raw("post_processor") or {}
    try:
        singles = [processor.get("single") for processor in (outer, *outer.get("processors", ()))]
        return any(single[0].get("SpecialToken", {}).get("id") == token for single in singles if single)
    except (AttributeError, KeyError, TypeError) as error:
        raise tokenizer.wrong("post_processor", "a post-processor of the tokenizers library") from error

"""Text bundles: the real model's, and tiny ones of the other kinds of tokenizer."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from stoker_core.text import TextBundle
from stoker_gateway.text.model_text import ModelText

PIECES = ["▁", *"abcdefghijklmnopqrstuvwxyzSTU<>/|_.,!\n", "he", "ll", "llo", "▁he", "▁hello"]
MERGES = [["h", "e"], ["l", "l"], ["ll", "o"], ["▁", "he"], ["▁he", "llo"]]


def added(token_id: int, content: str, **flags: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content, **plain, **flags}


def spec(model: dict[str, Any], tokens: list[dict[str, Any]], **parts: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return {"version": "1.0", **nothing, "added_tokens": tokens, "model": model, **parts}


def sentencepiece_spec(*, metaspace: bool = False, **flags: bool) -> dict[str, Any]:
    """A Llama-2-like tokenizer: byte fallback, and a space in front of every segment or (metaspace) of the text only."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES]
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": {name: index for index, name in enumerate(names)},
        "merges": [*MERGES],
    }
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    prepend = {"type": "Prepend", "prepend": "▁"}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    parts: dict[str, Any] = {"decoder": {"type": "Sequence", "decoders": [*steps, strip]}}
    if metaspace:
        parts["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    else:
        parts["normalizer"] = {"type": "Sequence", "normalizers": [prepend, spaces]}
    tokens = [added(index, name, **flags) for index, name in enumerate(names[:3])]
    return spec(model, tokens, **parts)


def unigram_spec() -> dict[str, Any]:
    """A tokenizer whose vocabulary alone would turn "</s>" into the control token."""
    vocab = [["<unk>", 0.0], ["</s>", 0.0], *([piece, -2.0] for piece in PIECES)]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    model = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False}
    return spec(model, [added(0, "<unk>"), added(1, "</s>")], pre_tokenizer=metaspace, decoder=metaspace)


def wordpiece_spec() -> dict[str, Any]:
    names = ["[UNK]", "[CLS]", "[SEP]", "hel", "##lo", "wor", "##ld", "a", "##b", "."]
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {name: index for index, name in enumerate(names)},
    }
    tokens = [added(index, name) for index, name in enumerate(names[:3])]
    whitespace, decoder = {"type": "Whitespace"}, {"type": "WordPiece", "prefix": "##", "cleanup": True}
    return spec(model, tokens, pre_tokenizer=whitespace, decoder=decoder)


@pytest.fixture(scope="session")
def reference(smollm2_reference: Path) -> Any:
    """The real tokenizer as the library reads it."""
    return Tokenizer.from_file(str(smollm2_reference / "tokenizer.json"))


@pytest.fixture(scope="session")
def bundle(smollm2_reference: Path) -> TextBundle:
    return TextBundle(
        tokenizer=json.loads((smollm2_reference / "tokenizer.json").read_text()),
        chat_templates={"default": (smollm2_reference / "chat_template.jinja").read_text()},
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        stop_token_ids=(2,),
    )


@pytest.fixture(scope="session")
def model(bundle: TextBundle) -> ModelText:
    return ModelText.from_bundle(bundle)


@dataclass(frozen=True)
class Tiny:
    """A tiny tokenizer: ours, and the library's own."""

    model: ModelText
    library: Any

    @classmethod
    def of(cls, spec: dict[str, Any], **bundle: Any) -> "Tiny":
        return cls(ModelText.from_bundle(TextBundle(spec, **bundle)), Tokenizer.from_str(json.dumps(spec)))


SPECS: dict[str, Callable[[], dict[str, Any]]] = {
    "a space before every segment": sentencepiece_spec,
    "a space before the text": lambda: sentencepiece_spec(metaspace=True),
    "control tokens swallow whitespace": lambda: sentencepiece_spec(rstrip=True),
    "unigram": unigram_spec,
    "wordpiece": wordpiece_spec,
}


@pytest.fixture(scope="session", params=SPECS)
def tiny(request: pytest.FixtureRequest) -> Tiny:
    return Tiny.of(SPECS[request.param]())


@pytest.fixture(scope="session")
def sentencepiece() -> Tiny:
    return Tiny.of(sentencepiece_spec(), bos_token="<s>", eos_token="</s>", add_bos=True)


@pytest.fixture(scope="session")
def normalized() -> Tiny:
    return Tiny.of(sentencepiece_spec(normalized=True))


@pytest.fixture(scope="session")
def unigram() -> Tiny:
    return Tiny.of(unigram_spec())


@pytest.fixture(scope="session")
def wordpiece() -> Tiny:
    return Tiny.of(wordpiece_spec())

"""GGUF metadata → tokenizer, templates and stop tokens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from stoker_core.text import TextBundle
from stoker_worker.errors import ModelFileError
from stoker_worker.weights.open import open_model
from stoker_worker.weights.sentencepiece import merges_from_scores

WriteGguf = Callable[..., Path]

BPE_TOKENS = ["<|end|>", "<tool>", "a", "b", "c", "ab", "abc", "Ġ", "Ġab", "<|eot_id|>", "spare"]
BPE = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "llama-bpe",
    "tokenizer.ggml.tokens": BPE_TOKENS,
    "tokenizer.ggml.token_type": [3, 4, 1, 1, 1, 1, 1, 1, 1, 3, 5],
    "tokenizer.ggml.merges": ["a b", "Ġ ab"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 0,
}
SPM_TOKENS = ["<unk>", "<s>", "</s>", "<0x0A>", "<0xC3>", "<0xA9>", "▁", "h", "i", "hi", "▁hi", "▁h", "▁▁"]
SPM = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.pre": None,
    "tokenizer.ggml.merges": None,
    "tokenizer.ggml.tokens": SPM_TOKENS,
    "tokenizer.ggml.token_type": [2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1],
    "tokenizer.ggml.scores": [0.0] * 6 + [-9.0, -9.0, -9.0, -2.0, -3.0, -1.0, -1e9],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
}


@pytest.fixture
def read(write_gguf: WriteGguf) -> Callable[[dict[str, Any]], TextBundle]:
    return lambda metadata: open_model(write_gguf(metadata=metadata)).text()


Read = Callable[[dict[str, Any]], TextBundle]


def load(bundle: TextBundle) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(bundle.tokenizer))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ab ab", ["ab", "Ġab"]),
        ("abc", ["abc"]),  # in the vocabulary though no merge leads there
        ("ca", ["c", "a"]),
        ("a<|end|>b", ["a", "<|end|>", "b"]),
        ("a<tool>b", ["a", "<tool>", "b"]),
    ],
)
def test_byte_level_bpe(text: str, tokens: list[str], read: Read) -> None:
    tokenizer = load(read(BPE))
    encoding = tokenizer.encode(text)
    assert encoding.tokens == tokens
    assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == text


@pytest.mark.parametrize(
    ("text", "tokens", "decoded"),
    [
        ("hi", ["▁hi"], "hi"),
        ("hi  hi", ["▁hi", "▁", "▁hi"], "hi  hi"),  # ▁▁ is there, with a score that lets everything else go first
        ("ih", ["▁", "i", "h"], "ih"),
        ("é\n", ["▁", "<0xC3>", "<0xA9>", "<0x0A>"], "é\n"),
        ("<s>hi</s>", ["<s>", "▁hi", "</s>"], "<s> hi</s>"),  # a space begins each stretch of text, as in llama.cpp
    ],
)
def test_sentencepiece_bpe_with_byte_fallback(text: str, tokens: list[str], decoded: str, read: Read) -> None:
    tokenizer = load(read(SPM))
    encoding = tokenizer.encode(text)
    assert encoding.tokens == tokens
    assert tokenizer.decode(encoding.ids, skip_special_tokens=False) == decoded


def test_without_space_prefix_a_text_begins_bare(read: Read) -> None:
    tokenizer = load(read(SPM | {"tokenizer.ggml.add_space_prefix": False}))
    assert tokenizer.encode("hi").tokens == ["hi"]
    assert tokenizer.decode(tokenizer.encode(" hi").ids) == " hi"


def test_merges_rank_by_the_score_of_the_whole() -> None:
    ids = {token: token_id for token_id, token in enumerate(["a", "b", "ab", "ba", "aba"])}
    merges = merges_from_scores(ids, [0.0, 0.0, -2.0, -1.0, -3.0], [True] * 5)
    assert merges == [["b", "a"], ["a", "b"], ["a", "ba"], ["ab", "a"]]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (BPE, {"bos_token": "<|end|>", "eos_token": "<|end|>", "stop_token_ids": (0, 9), "add_bos": True}),
        (BPE | {"tokenizer.ggml.pre": "qwen2"}, {"add_bos": False}),
        (BPE | {"tokenizer.ggml.add_bos_token": False}, {"add_bos": False}),
        (BPE | {"tokenizer.ggml.bos_token_id": None}, {"bos_token": "", "add_bos": False}),
        (BPE | {"tokenizer.ggml.eot_token_id": 1, "tokenizer.ggml.eom_token_id": 6}, {"stop_token_ids": (0, 1, 6, 9)}),
        (BPE | {"tokenizer.ggml.padding_token_id": 10}, {"special_tokens": {"pad_token": "spare"}}),
        (SPM, {"stop_token_ids": (2,), "add_bos": True, "special_tokens": {"unk_token": "<unk>"}}),
        (BPE, {"chat_templates": {}, "generation": {}}),
        (
            BPE
            | {
                "tokenizer.chat_template": "plain",
                "tokenizer.chat_templates": ["tool_use", "gone"],
                "tokenizer.chat_template.tool_use": "with tools",
            },
            {"chat_templates": {"default": "plain", "tool_use": "with tools"}},
        ),
        (
            BPE | {"general.sampling.temp": 0.5, "general.sampling.top_k": 20, "general.sampling.penalty_repeat": 1.5},
            {"generation": {"temperature": 0.5, "top_k": 20.0, "repetition_penalty": 1.5}},
        ),
    ],
    ids=lambda value: ", ".join(value) if len(value) < 5 else "",
)
def test_what_metadata_says_beside_the_tokenizer(
    metadata: dict[str, Any], expected: dict[str, Any], read: Read
) -> None:
    bundle = read(metadata)
    assert {key: getattr(bundle, key) for key in expected} == expected
    assert TextBundle.from_bytes(bundle.to_bytes()) == bundle


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model 't5' is not supported; supported are gpt2, llama"),
        ({"tokenizer.ggml.pre": "martian"}, "tokenizer.ggml.pre must be one of default, gpt-2"),
        ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokenizer.ggml.merges": None}, "tokenizer.ggml.merges is missing"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "tokenizer.ggml.tokens must be a list of strings, it is [1, 2]"),
        ({"tokenizer.ggml.merges": [1, 2]}, "tokenizer.ggml.merges must be a list of strings"),
        ({"tokenizer.ggml.merges": ["ab"]}, "tokenizer.ggml.merges must be a list of pairs"),
        ({"tokenizer.ggml.token_type": [1, 2]}, "token_type must be a list of 11 types"),
        ({"tokenizer.ggml.eos_token_id": 500}, "eos_token_id must be a token id below 11, it is 500"),
        ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.scores must be a list of 11 numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_tokenizer(metadata: dict[str, Any], words: str, read: Read) -> None:
    with pytest.raises(ModelFileError, match=r"tiny\.gguf: ") as raised:
        read(BPE | metadata)
    assert words in raised.value.problem

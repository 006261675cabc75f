"""Byte-level BPE styles cut text where their vocabularies were trained to have it cut."""

import json

import pytest
from tokenizers import Tokenizer

from stoker_worker.weights.bpe_styles import BPE_STYLES


def pieces(name: str, text: str) -> list[str]:
    """The pieces of `text`, through the tokenizers library, with spaces and line ends written as themselves."""
    style = BPE_STYLES[name]
    tokenizer = Tokenizer.from_str(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "normalizer": {"type": style.normalizer} if style.normalizer else None,
                "pre_tokenizer": style.pre_tokenizer(),
                "model": {"type": "BPE", "vocab": {}, "merges": []},
            }
        )
    )
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    return [text[start:end] for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpt-2", "I'll pay 1234  now\n", ["I", "'ll", " pay", " 1234", " ", " now", "\n"]),
        ("smollm", "pay 1234", ["pay", " ", "1", "2", "3", "4"]),
        ("llama-bpe", "I'LL pay 12345 a.b\n\n x", ["I", "'LL", " pay", " ", "123", "45", " a", ".b", "\n\n", " x"]),
        ("qwen2", "in 123 e\u0301", ["in", " ", "1", "2", "3", " é"]),
        ("tekken", "HTTPServer's 12/\n", ["HTTPServer", "'s", " ", "1", "2", "/\n"]),
        ("gpt-4o", "HTTPServer's 1234", ["HTTPServer's", " ", "123", "4"]),
        ("gpt-4o", "camelCase", ["camel", "Case"]),
        ("deepseek-v3", "x=1234中文ok _id", ["x", "=", "123", "4", "中文", "ok", " _", "id"]),
        ("deepseek-llm", "ab 12\r\nC++ 中文", ["ab", " ", "1", "2", "\r", "\n", "C", "++", " ", "中文"]),
        ("deepseek-coder", "ab, 12", ["ab", ",", " ", "1", "2"]),
        ("default", "a<=b 1234", ["a", "<=", "b", " ", "123", "4"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_text_is_cut_as_the_style_says(name: str, text: str, expected: list[str]) -> None:
    assert pieces(name, text) == expected


@pytest.mark.parametrize("name", BPE_STYLES)
def test_no_style_loses_a_character(name: str) -> None:
    text = "def f(x):\n\treturn  x ** 2.50\r\n\r\n  # 中文 тест 'S 👍🏽 ünï\u00a0end  "
    assert "".join(pieces(name, text)) == text

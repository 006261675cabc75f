"""Encoding word by word: the same ids as the library's, for every way of cutting words that is known here."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from stoker_core.text import TextBundle
from stoker_gateway.text.words import WordTable, ascii_pattern

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
STYLES = {
    "gpt-2": [r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    "smollm": [r"\p{N}", r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    "llama 3": [rf"{SUFFIXES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}"],
    "qwen 2": [rf"{SUFFIXES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}"],
    "gpt-4o": [rf"{CASED}{SUFFIXES}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{SPACES}"],
    "deepseek v3": [
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        (
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
            rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{SPACES}"
        ),
    ],
    "leaves gaps": [r"[\p{P}\$\+<=>\^~\|]+", "[0-9][0-9][0-9]"],
}
ASCII = st.text(st.characters(max_codepoint=127), max_size=60)
PROSE = st.lists(
    st.sampled_from(
        ["The", "quick", " ", "  ", "\n", "\r\n", "don't", "I'LL", "'s", "12", "2026", ", ", "_x", "$", "é"]
    ),
    max_size=30,
).map("".join)


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


@pytest.fixture(scope="module", params=STYLES)
def pair(request: pytest.FixtureRequest, bundle: TextBundle) -> tuple[WordTable, Any]:
    steps = [*map(split, STYLES[request.param]), BYTES]
    return table_of({**bundle.tokenizer, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}})


def table_of(spec: dict[str, Any], *apart: str) -> tuple[Any, Any]:
    library = Tokenizer.from_str(json.dumps(spec))
    return WordTable.of(spec, apart, library), library


@settings(deadline=None)
@given(text=ASCII | PROSE)
def test_words_are_what_the_library_makes_of_them(pair: Any, text: str) -> None:
    table, library = pair
    expected = library.encode(text, add_special_tokens=False).ids if text.isascii() else None
    assert table.encode(text) == expected
    assert table.encode(text) == expected, "from the table"


def test_a_text_of_many_new_words_is_left_to_the_library_until_they_are_known(bundle: TextBundle) -> None:
    table, library = table_of(bundle.tokenizer)
    text = " ".join(f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(400))
    assert [table.encode(text) is None for _ in range(2)] == [True, False]
    assert table.encode(text) == library.encode(text).ids


def test_the_table_does_not_grow_without_end(bundle: TextBundle) -> None:
    table, _ = table_of(bundle.tokenizer)
    numbers = iter(range(10**6))
    for _ in range(200):
        table.encode(" ".join(hex_word(next(numbers)) for _ in range(200)))
    assert len(table._table) < 33_100
    table.encode("x" * 100_000)
    assert max(map(len, table._table)) < 100


def hex_word(number: int) -> str:
    return f"{number:05x}".translate(str.maketrans("0123456789", "ghijklmnop"))


def test_added_tokens_in_a_text_are_left_to_the_library(bundle: TextBundle) -> None:
    table, _ = table_of(bundle.tokenizer, "<tool_call>")
    assert table.encode("a tool_call") is not None
    assert table.encode("a <tool_call>") is None


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {**BYTES, "add_prefix_space": True, "use_regex": True}},
        {"pre_tokenizer": BYTES},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(r"\p{Greek}+"), BYTES]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{**split("a"), "invert": True}, BYTES]}},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(r"\G a"), BYTES]}},
    ],
    ids=[
        "a normalizer that changes ASCII",
        "words by another rule",
        "no words",
        "a space in front",
        "bytes without words",
        "an unknown property",
        "what is between matches",
        "an anchor that Python has not",
    ],
)
def test_other_tokenizers_have_no_table(bundle: TextBundle, change: Any) -> None:
    assert table_of({**bundle.tokenizer, **change})[0] is None


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"\p{L}+|[^\s\p{L}\p{N}]", r"[A-Za-z]+|[^\sA-Za-z0-9]"),
        (r"[\p{Lu}\p{M}]\]", r"[A-Z]\]"),
        (r"[$]a", "[$]a"),
        (r"\s+$", None),
        (r"(a)", None),
        (r"\p{Greek}", None),
        (r"a(", None),
    ],
)
def test_patterns_for_ascii(pattern: str, expected: str | None) -> None:
    assert ascii_pattern(pattern) == expected

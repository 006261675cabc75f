from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_gateway.text.detokenizer import ByteDetokenizer, Detokenizer, WindowDetokenizer
from stoker_gateway.text.model_text import ModelText

BYTES = [bytes([byte]) for byte in range(256)]

SAMPLES = [
    "The quick brown fox.",
    "  two spaces, a tab\tand\r\nlines\n\n",
    "Grüße aus Köln, naïve café, e\u0301",
    "Привет, мир! Γειά σου Κόσμε",
    "日本語のテキストと한국어 텍스트、中文",
    "مرحبا بالعالم שלום עולם हिन्दी ไทย",
    "👩🏽‍💻👨‍👩‍👧‍👦🏳️‍🌈🇩🇪 ❤️",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0010fffd\ufffd",
]


def in_chunks(detokenizer: Detokenizer, ids: list[int], cuts: list[int]) -> str:
    bounds = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    return "".join([detokenizer.push(ids[start:end]) for start, end in pairwise(bounds)]) + detokenizer.finish()


@pytest.mark.parametrize("text", SAMPLES)
def test_bytes_one_by_one_become_whole_characters(text: str) -> None:
    detokenizer = ByteDetokenizer(BYTES)
    pushed = [detokenizer.push([byte]) for byte in text.encode()]
    assert [chunk for chunk in pushed if chunk] == list(text)
    assert detokenizer.finish() == ""


@pytest.mark.parametrize(
    ("pushes", "expected", "rest"),
    [
        pytest.param([b"\xff"], ["�"], "", id="a byte that UTF-8 never has"),
        pytest.param([b"\x80", b"a"], ["�", "a"], "", id="a continuation without a start"),
        pytest.param([b"\xc0", b"\xaf"], ["�", "�"], "", id="an overlong form"),
        pytest.param([b"\xe2", b"("], ["", "�("], "", id="a character broken off after one byte"),
        pytest.param([b"\xf0\x9f", b"\x92", b"a"], ["", "", "�a"], "", id="a character broken off after three bytes"),
        pytest.param([b"\xed", b"\xa0", b"\x80"], ["", "��", "�"], "", id="a surrogate in UTF-8"),
        pytest.param([b"\xf4", b"\x90"], ["", "��"], "", id="beyond the last character"),
        pytest.param([b"\xf0\x9f", b"\xff"], ["", "��"], "", id="an invalid byte within a character"),
        pytest.param([b"a\xe2\x82"], ["a"], "�", id="a character that is never completed"),
        pytest.param([b"\xe2\x82", b"\xac"], ["", "€"], "", id="a character that is completed later"),
    ],
)
def test_invalid_bytes_are_replaced_as_soon_as_that_is_certain(
    pushes: list[bytes], expected: list[str], rest: str
) -> None:
    detokenizer = ByteDetokenizer(BYTES)
    assert [detokenizer.push(data) for data in pushes] == expected
    assert detokenizer.finish() == rest


@settings(deadline=None)
@given(data=st.binary(max_size=30), cuts=st.lists(st.integers(0, 30), max_size=5))
def test_any_bytes_in_any_chunks_are_what_python_decodes(data: bytes, cuts: list[int]) -> None:
    assert in_chunks(ByteDetokenizer(BYTES), list(data), cuts) == data.decode("utf-8", "replace")


def test_ids_outside_the_vocabulary_have_no_text() -> None:
    assert ByteDetokenizer(BYTES).push([97, 256, 100_000, 98]) == "ab"


@pytest.mark.parametrize("text", SAMPLES)
def test_generated_text_is_what_the_library_decodes(model: ModelText, reference: Any, text: str) -> None:
    ids = reference.encode(text).ids
    assert in_chunks(model.detokenizer(), ids, list(range(len(ids)))) == reference.decode(ids) == text


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 49151), max_size=20), cuts=st.lists(st.integers(0, 20), max_size=5))
def test_any_ids_in_any_chunks_are_what_the_library_decodes(
    model: ModelText, reference: Any, ids: list[int], cuts: list[int]
) -> None:
    assert in_chunks(model.detokenizer(), ids, cuts) == reference.decode(ids, skip_special_tokens=True)
    assert in_chunks(model.detokenizer(False), ids, cuts) == reference.decode(ids, skip_special_tokens=False)


@settings(deadline=None)
@given(text=st.text(max_size=40), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_text_survives_byte_fallback_with_its_leading_space(sentencepiece: Any, text: str, cuts: list[int]) -> None:
    ids = sentencepiece.model.encode(text, add_special=False)
    expected = f" {text}" if text else ""
    assert in_chunks(sentencepiece.model.detokenizer(), ids, cuts) == expected.replace("▁", " ")


def test_a_reply_keeps_the_space_that_joins_it_to_its_prompt(sentencepiece: Any) -> None:
    ids = sentencepiece.model.encode("hello", add_special=False)
    assert [sentencepiece.model.token_text(i) for i in ids] == [" hello"]
    assert sentencepiece.model.decode(ids) == " hello"
    assert sentencepiece.library.decode(ids) == "hello"


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 9), max_size=12), cuts=st.lists(st.integers(0, 12), max_size=4))
def test_decoders_without_bytes_per_token_stream_what_the_library_decodes(
    wordpiece: Any, ids: list[int], cuts: list[int]
) -> None:
    assert isinstance(wordpiece.model.detokenizer(), WindowDetokenizer)
    expected = wordpiece.library.decode(ids, skip_special_tokens=True)
    assert in_chunks(wordpiece.model.detokenizer(), ids, cuts) == expected


def test_decoders_without_bytes_per_token_can_show_special_tokens(wordpiece: Any) -> None:
    assert in_chunks(wordpiece.model.detokenizer(skip_special=False), [3, 4, 2, 5, 6], [1, 2]) == "hello[SEP]world"
    assert [wordpiece.model.token_text(i) for i in (2, 3)] == ["[SEP]", "hel"]

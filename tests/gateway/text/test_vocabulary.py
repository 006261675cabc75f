import json
from typing import Any

import pytest

from stoker_core.text import TextBundle
from stoker_gateway.text.detokenizer import WindowDetokenizer
from stoker_gateway.text.model_text import ModelText
from stoker_gateway.text.vocabulary import agrees, token_bytes

SPACES = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
LLAMA = {"type": "Sequence", "decoders": [SPACES, {"type": "ByteFallback"}, {"type": "Fuse"}, STRIP]}


@pytest.mark.parametrize(
    ("decoder", "token", "expected"),
    [
        ({"type": "ByteLevel"}, "Ġhello", b" hello"),
        ({"type": "ByteLevel"}, "ĠÃ©", " é".encode()),
        ({"type": "ByteLevel"}, "ðŁ", b"\xf0\x9f"),
        ({"type": "ByteLevel"}, "Ċĉ", b"\n\t"),
        ({"type": "ByteLevel"}, "<｜User｜>", "<｜User｜>".encode()),
        ({"type": "ByteLevel"}, "two words", b"two words"),
        (LLAMA, "▁hello", b" hello"),
        (LLAMA, "<0xE2>", b"\xe2"),
        (LLAMA, "<0xe2>", b"<0xe2>"),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, "▁▁a", b"  a"),
        (SPACES, "<0xE2>", b"<0xE2>"),
    ],
)
def test_a_token_stands_for_the_bytes_that_its_decoder_says(decoder: Any, token: str, expected: bytes) -> None:
    assert token_bytes(decoder, [token, None]) == [expected, b""]


@pytest.mark.parametrize(
    "decoder",
    [
        None,
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"type": "CTC"},
        {"type": "Sequence", "decoders": []},
        {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, STRIP]},
        {"type": "Replace", "pattern": {"Regex": "_+"}, "content": " "},
        {"type": "Strip", "content": " ", "start": 0, "stop": 1},
    ],
)
def test_other_decoders_have_no_bytes_per_token(decoder: Any) -> None:
    assert token_bytes(decoder, ["a"]) is None


def test_a_table_is_checked_against_the_library(reference: Any) -> None:
    vocabulary = reference.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    table = token_bytes({"type": "ByteLevel"}, tokens)
    assert table is not None
    ids = range(17, len(tokens))
    assert agrees(reference, table, ids)
    assert not agrees(reference, [data.replace(b" ", b"_") for data in table], ids)
    assert not agrees(reference, table, [])


def test_a_decoder_that_does_otherwise_than_it_seems_is_left_to_the_library(sentencepiece: Any) -> None:
    """Each token is stripped before tokens are fused, which no table of single tokens shows."""
    spec = json.loads(sentencepiece.library.to_str())
    spec["decoder"] = {"type": "Sequence", "decoders": [SPACES, STRIP, {"type": "Fuse"}]}
    model = ModelText.from_bundle(TextBundle(spec))
    assert isinstance(model.detokenizer(), WindowDetokenizer)
    assert model.decode(model.encode("hello hello", add_special=False)) == "hellohello"
    assert model.vocab_size == sentencepiece.model.vocab_size

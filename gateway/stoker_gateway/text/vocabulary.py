"""Each token's bytes, read off the tokenizer's decoder and checked against it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

_SAMPLES = 1024
_RUN = 5


def token_bytes(decoder: Any, tokens: Sequence[str | None]) -> list[bytes] | None:
    """The bytes that each token stands for under the `decoder` of a tokenizer.json; b"" where there is no token.

    None for a decoder whose tokens have no bytes of their own. Trimming at the start of a text is left out: what a
    table is used for follows a prompt.
    """
    reader = _reader(decoder)
    return None if reader is None else [b"" if token is None else reader(token) for token in tokens]


def agrees(tokenizer: Any, table: Sequence[bytes], ids: Iterable[int]) -> bool:
    """Whether a `tokenizers.Tokenizer` decodes a sample of `ids` to what the table says, alone and in runs."""
    # In front of every sample, because decoders may trim the start of a text.
    anchor = next((table.index(letter) for letter in (b"a", b"e", b"A", b"1") if letter in table), None)
    known = [i for i in ids if table[i]]
    if anchor is None or not known:
        return False
    sample = known[:: max(1, len(known) // _SAMPLES)]
    runs = [sample[start : start + _RUN] for start in range(0, len(sample), _RUN)]
    return all(_same(tokenizer, table, [anchor, *run]) for run in [*([i] for i in sample), *runs])


def _same(tokenizer: Any, table: Sequence[bytes], ids: list[int]) -> bool:
    data = b"".join([table[i] for i in ids])
    decoded = tokenizer.decode(ids, skip_special_tokens=False)
    # How many U+FFFD a broken character becomes is the decoder's taste; that there is one is not.
    text = data.decode("utf-8", "replace")
    return bool(decoded == text) or ("\ufffd" in decoded and "\ufffd" in text)


def _reader(decoder: Any) -> Callable[[str], bytes] | None:
    """How to read one token under a decoder; None if it is of an unknown kind."""
    steps = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    replacements: list[tuple[str, str]] = []
    byte_fallback = False
    for step in steps:
        match step:
            case {"type": "ByteLevel"} if len(steps) == 1:
                return _ByteLevel()
            case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)}:
                replacements.append((old, new))
            case {"type": "Metaspace", "replacement": str(old)}:
                replacements.append((old, " "))
            case {"type": "ByteFallback"}:
                byte_fallback = True
            case {"type": "Fuse"} | {"type": "Strip", "stop": 0}:
                pass
            case _:
                return None
    return _Pieces(replacements, byte_fallback) if steps else None


class _ByteLevel:
    """GPT-2's spelling of bytes as printable characters; a token with any other character stands for its own UTF-8."""

    def __init__(self) -> None:
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(0x100) if byte not in printable]
        # Latin characters that spell no byte become one that Latin-1 cannot encode.
        self._spelling = {ord(chr(byte)): "\uffff" for byte in others}
        self._spelling |= {0x100 + index: chr(byte) for index, byte in enumerate(others)}

    def __call__(self, token: str) -> bytes:
        try:
            return token.translate(self._spelling).encode("latin-1")
        except UnicodeEncodeError:
            return token.encode()


class _Pieces:
    """SentencePiece's spelling: a mark for spaces, and `<0xNN>` for bytes that have no piece."""

    def __init__(self, replacements: Sequence[tuple[str, str]], byte_fallback: bool) -> None:
        self._replacements = replacements
        self._bytes = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(0x100)} if byte_fallback else {}

    def __call__(self, token: str) -> bytes:
        byte = self._bytes.get(token)
        if byte is not None:
            return byte
        for old, new in self._replacements:
            token = token.replace(old, new)
        return token.encode()

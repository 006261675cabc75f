"""Encoding ASCII text word by word from a table: most of what a tokenizer library spends goes into cutting text to words.

Byte-level BPE encodes every word by itself, and how words are cut is a regular expression of the tokenizer.json. For
ASCII text Python's own expressions say the same, so a prompt costs a look-up per word. Whatever is not known to come out
alike is left to the library.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

_MAX_WORDS = 32_768
_MAX_WORD_CHARS = 32
_LEARNED_AT_ONCE = 256
_NORMALIZERS_THAT_KEEP_ASCII = (None, "NFC", "NFD", "NFKC", "NFKD")
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# What Unicode's properties leave of ASCII.
_ASCII = {
    "L": "A-Za-z",
    "Lu": "A-Z",
    "Ll": "a-z",
    "N": "0-9",
    "P": r"!-#%-*,-/:;?@\[-\]_{}",
    "S": r"$+<->\^`|~",
    **dict.fromkeys(("Lt", "Lm", "Lo", "M"), ""),
}
_PIECE = re.compile(r"\\p\{(?P<property>\w+)\}|\\.|(?P<open>\[\^?)|(?P<close>\])|(?P<end>\$)|.", re.DOTALL)

Split = Callable[[str], list[str]]


class WordTable:
    """The ids of words seen so far. Shared by all accounts, as the library's own cache of words is; threads may share it."""

    def __init__(self, splits: list[Split], apart: re.Pattern[str] | None, tokenizer: Any) -> None:
        """`apart` finds added tokens, which are no words."""
        self._splits = splits
        self._apart = apart
        self._tokenizer = tokenizer
        self._table: dict[str, tuple[int, ...]] = {}

    @classmethod
    def of(cls, spec: Mapping[str, Any], apart: Iterable[str], tokenizer: Any) -> "WordTable | None":
        """For a tokenizer.json and the library's tokenizer of it, or None if words cannot be cut here as it does.

        apart   texts of the added tokens that ordinary text may spell out
        """
        splits = _splits(spec)
        if splits is None:
            return None
        texts = "|".join(re.escape(text) for text in apart)
        table = cls(splits, re.compile(texts) if texts else None, tokenizer)
        agrees = all(table.encode(text) in (None, tokenizer.encode(text).ids) for text in _samples())
        return table if agrees else None

    def encode(self, text: str) -> list[int] | None:
        """Ids of a text after which, and before which, there is nothing or a control token. None: ask the library."""
        if not text.isascii() or (self._apart is not None and self._apart.search(text)):
            return None
        words = [text]
        for split in self._splits:
            words = [word for piece in words for word in split(piece) if word]
        table = self._table
        try:
            return list(chain.from_iterable([table[word] for word in words]))
        except KeyError:
            return self._learn(words)

    def _learn(self, words: list[str]) -> list[int] | None:
        """Ids of words that are not all in the table; None if so many are missing that the library is faster."""
        table = self._table
        missing = {word for word in words if word not in table}
        new = list(islice(missing, _LEARNED_AT_ONCE))
        encodings = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        found = {word: tuple(encoding.ids) for word, encoding in zip(new, encodings, strict=True)}
        if len(table) > _MAX_WORDS:
            self._table = {}
        self._table.update({word: ids for word, ids in found.items() if len(word) <= _MAX_WORD_CHARS})
        if len(new) < len(missing):
            return None
        return list(chain.from_iterable([found[word] if word in missing else table[word] for word in words]))


def _splits(spec: Mapping[str, Any]) -> list[Split] | None:
    """How a tokenizer.json cuts ASCII text, step by step; None for a kind of tokenizer that is not known here."""
    model, normalizer, cutting = spec["model"], spec["normalizer"], spec["pre_tokenizer"]
    if model["type"] != "BPE" or (normalizer and normalizer["type"]) not in _NORMALIZERS_THAT_KEEP_ASCII:
        return None
    steps = cutting["pretokenizers"] if cutting and cutting["type"] == "Sequence" else [cutting]
    patterns = [_pattern(step) for step in steps]
    if None in patterns or not any(patterns):
        return None
    return [re.compile(f"({pattern})", re.ASCII).split for pattern in patterns if pattern]


def _pattern(step: Any) -> str | None:
    """What one pre-tokenizer cuts out, "" for nothing, None if it is unknown."""
    match step:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": bool(cuts)}:
            return ascii_pattern(_GPT2) if cuts else ""
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return ascii_pattern(pattern)
        case {"type": "Digits", "individual_digits": True}:
            return "[0-9]"
        case _:
            return None


def ascii_pattern(pattern: str) -> str | None:
    """A regular expression of Oniguruma's that uses Unicode's properties, as Python's for ASCII text.

    None if Python cannot say it: for other properties, or a `$`, at which Python would start over at each space of a run.
    """
    pieces, inside = [], False
    for piece in _PIECE.finditer(pattern):
        name = piece["property"]
        if (name and name not in _ASCII) or (piece["end"] and not inside):
            return None
        if name:
            pieces.append(_ASCII[name] if inside else f"[{_ASCII[name]}]")
            continue
        inside = not piece["close"] and (inside or bool(piece["open"]))
        pieces.append(piece[0])
    text = "".join(pieces)
    try:
        groups = re.compile(f"({text})", re.ASCII).groups
    except re.error:
        return None
    return text if groups == 1 else None


def _samples() -> Iterator[str]:
    """ASCII text of all sorts, in all neighbourhoods."""
    pieces = (
        *(" ", "  ", "\n", "\n\n ", "\r\n", "\t", "\x00", "\x1c", "\x7f"),
        *("a", "Ab", "ABC", "don't", "I'LL", "'s", "1", "12", "12345", "1a"),
        *(".", "...", "?!", "(", "$", "+=", "/", "_", "-", "^", '"', "[", "\\", "~"),
    )
    for first in pieces:
        yield "".join(first + second for second in pieces)
        yield from (first + second for second in pieces)

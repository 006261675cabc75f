"""Token ids to text while they arrive: only whole characters, and the same text however the ids are split."""

from codecs import utf_8_decode
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

REPLACEMENT = "\ufffd"

# How a UTF-16 surrogate would start in UTF-8. It is invalid, but Python's decoder waits for the third byte to say so.
_SURROGATE, _AFTER_SURROGATES = b"\xed\xa0", b"\xee"


class Detokenizer(Protocol):
    """One choice's text in the making.

    The text is what follows a prompt: a leading space of the first token is kept. Ids outside the vocabulary have none.
    """

    def push(self, ids: Sequence[int]) -> str:
        """Take more ids; returns the text that is certain now, whole characters only.

        Bytes that can no longer become UTF-8 are U+FFFD, one for each maximal part of a character (Unicode, 3.9).
        """
        ...

    def finish(self) -> str:
        """The rest: U+FFFD for a character that was never completed, else "". The detokenizer may then be used anew."""
        ...


class ByteDetokenizer:
    """A detokenizer over a table of each token's bytes, which it only reads: a fraction of a microsecond a token."""

    __slots__ = ("_open", "_table")

    def __init__(self, table: Sequence[bytes]) -> None:
        self._table = table
        self._open = b""

    def push(self, ids: Sequence[int]) -> str:
        """See `Detokenizer`."""
        table = self._table
        try:
            data = self._open + b"".join([table[i] for i in ids])
        except IndexError:
            data = self._open + b"".join([table[i] for i in ids if i < len(table)])
        text, used = utf_8_decode(data, "replace", False)
        self._open = data[used:]
        if _SURROGATE <= self._open < _AFTER_SURROGATES:
            text += self.finish()
        return text

    def finish(self) -> str:
        """See `Detokenizer`."""
        text, _ = utf_8_decode(self._open, "replace", True)
        self._open = b""
        return text


class WindowDetokenizer:
    """A detokenizer for decoders whose tokens have no bytes of their own (WordPiece, CTC, …).

    tokenizer  a `tokenizers.Tokenizer`; it decodes a short window of ids before and after each new one
    apart      text of the ids that it shall not decode; "" for those that are skipped
    """

    # More ids than one character can have: a window that still ends in U+FFFD then really says U+FFFD.
    _LONGEST_CHARACTER = 8

    def __init__(self, tokenizer: Any, apart: Mapping[int, str]) -> None:
        self._tokenizer = tokenizer
        self._apart = apart
        self._window: list[int] = []
        self._emitted = ""
        self._waiting = 0

    def push(self, ids: Sequence[int]) -> str:
        """See `Detokenizer`."""
        return "".join([self._push(i) for i in ids])

    def _push(self, token_id: int) -> str:
        apart = self._apart.get(token_id)
        if apart is not None:
            return self.finish() + apart if apart else ""
        self._window.append(token_id)
        self._waiting += 1
        text = self._decode(self._window)
        if text.endswith(REPLACEMENT) and self._waiting < self._LONGEST_CHARACTER:
            return ""
        return self._emit(text)

    def _emit(self, text: str) -> str:
        new = text[len(self._emitted) :]
        self._window = self._window[-self._waiting :]
        self._emitted = self._decode(self._window)
        self._waiting = 0
        return new

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def finish(self) -> str:
        """See `Detokenizer`."""
        rest = self._decode(self._window)[len(self._emitted) :] if self._waiting else ""
        self._window, self._emitted, self._waiting = [], "", 0
        return rest

"""Text to token ids, with control tokens only where they are meant."""

import json
import secrets
from array import array
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any

from tokenizers import Tokenizer

from stoker_gateway.text.control import ControlTokens, unmarked
from stoker_gateway.text.errors import TokenizerError
from stoker_gateway.text.words import WordTable

_CACHED_CHARS = 2_000_000


class Encoder:
    """A tokenizer that cannot make a control token out of ordinary text.

    Each control token goes by an unguessable name in the tokenizer's vocabulary: nothing that a user types matches it.
    Rendered text is split at control tokens and those are put in under that name, which leaves all else about the
    tokenizer as it was: what a token does to the whitespace next to it, prefix spaces, normalisation.

    tokenizer  the renamed `tokenizers.Tokenizer`; ids are the original ones
    """

    def __init__(self, spec: Mapping[str, Any], control: ControlTokens) -> None:
        """`spec` is a tokenizer.json, parsed. Raises TokenizerError if the library refuses it."""
        self._control = control
        self._ids = control.ids
        nonce = secrets.token_hex(8)
        self._names = {text: f"<{nonce}:{token_id}>" for text, token_id in control.ids.items()}
        self.tokenizer = _load(_renamed(spec, self._names))
        if any(self.tokenizer.token_to_id(self._names[text]) != token_id for text, token_id in control.ids.items()):
            raise TokenizerError("The tokenizer's added tokens have other ids than its vocabulary gives them.")
        # Any control token's name does, if none of them touches its neighbours; "" if one does.
        tokens = [token for token in spec["added_tokens"] if token["content"] in control.ids]
        self._anchor = next(iter(self._names.values()), "") if all(map(_stands_alone, tokens)) else ""
        ordinary = [token["content"] for token in spec["added_tokens"] if token["content"] not in control.ids]
        self._words = WordTable.of(spec, ordinary, self.tokenizer)
        self._segments = _SegmentCache(_CACHED_CHARS)

    def encode(self, text: str, *, mark: str = "", cache_salt: bytes | None = None) -> list[int]:
        """Ids of rendered or raw text: control tokens spelled in it are control tokens, where no `mark` breaks them.

        With a salt, segments between control tokens are looked up among those encoded before under the same salt.
        Raises TokenizerError for lone surrogates.
        """
        pieces = self._control.split(text)
        if mark:
            pieces[::2] = [unmarked(piece, mark) for piece in pieces[::2]]
        if cache_salt is not None and self._anchor:
            return self._encode_cached(pieces, cache_salt)
        pieces[1::2] = [self._names[piece] for piece in pieces[1::2]]
        return self._encode("".join(pieces))

    def tokens(self) -> list[str | None]:
        """Each id's token as the vocabulary spells it, control tokens by their hidden names; None for ids between."""
        vocabulary = self.tokenizer.get_vocab(with_added_tokens=True)
        tokens: list[str | None] = [None] * (1 + max(vocabulary.values(), default=-1))
        for token, token_id in vocabulary.items():
            tokens[token_id] = token
        return tokens

    def token_id(self, token: str) -> int:
        """The id of one token. Raises TokenizerError if there is none."""
        token_id: int | None = self.tokenizer.token_to_id(self._names.get(token, token))
        if token_id is None:
            raise TokenizerError(f"The tokenizer has no token {token!r}.")
        return token_id

    def decode_one(self, token_id: int) -> str:
        """One token's text by itself."""
        return str(self.tokenizer.decode([token_id], skip_special_tokens=False))

    def _encode_cached(self, pieces: list[str], salt: bytes) -> list[int]:
        ids: list[int] = []
        for index, piece in enumerate(pieces):
            if index % 2:
                ids.append(self._ids[piece])
            elif piece:
                ids.extend(self._segment(piece, index == 0, salt))
        return ids

    def _segment(self, text: str, first: bool, salt: bytes) -> "array[int]":
        """Ids of the text before, or after, a control token: some tokenizers put a space in front of the first only."""
        key = (salt, first, text)
        ids = self._segments.get(key)
        if ids is None:
            ids = array("I", self._encode_segment(text, first))
            self._segments.put(key, ids)
        return ids

    def _encode_segment(self, text: str, first: bool) -> list[int]:
        ids = self._words.encode(text) if self._words is not None else None
        if ids is not None:
            return ids
        return self._encode(text) if first else self._encode(self._anchor + text)[1:]

    def _encode(self, text: str) -> list[int]:
        try:
            # A batch, because only batches can go without offsets, which cost a quarter more and nobody reads.
            ids: list[int] = self.tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids
        except (TypeError, UnicodeEncodeError):
            raise TokenizerError(
                'The text holds a lone surrogate (half of a UTF-16 pair, as in "\\ud800"); send whole characters.'
            ) from None
        return ids


class _SegmentCache:
    """The ids of recently used segments, least recently used first out; it holds `max_chars` characters of keys."""

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._chars = 0
        self._entries: OrderedDict[tuple[bytes, bool, str], array[int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[bytes, bool, str]) -> "array[int] | None":
        with self._lock:
            ids = self._entries.get(key)
            if ids is not None:
                self._entries.move_to_end(key)
            return ids

    def put(self, key: tuple[bytes, bool, str], ids: "array[int]") -> None:
        with self._lock:
            # One that would drive out a good part of the others is not worth it.
            if key in self._entries or len(key[2]) > self._max_chars // 8:
                return
            self._entries[key] = ids
            self._chars += len(key[2])
            while self._chars > self._max_chars:
                (_, _, text), _ = self._entries.popitem(last=False)
                self._chars -= len(text)


def _stands_alone(token: Mapping[str, Any]) -> bool:
    """Whether an added token leaves its neighbours alone, so that the text next to it can be encoded by itself."""
    return not (token["lstrip"] or token["rstrip"] or token["single_word"])


def _renamed(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A tokenizer.json in which tokens go by other names, without what would add, cut or pad tokens on encoding."""
    model = dict(spec["model"])
    vocab = model["vocab"]
    if isinstance(vocab, Mapping):
        model["vocab"] = {names.get(token, token): token_id for token, token_id in vocab.items()}
    else:
        model["vocab"] = [[names.get(token, token), score] for token, score in vocab]
    if "unk_token" in model:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _makes_any_of(merge, names)]
    added = [_added_as(token, names.get(token["content"])) for token in spec["added_tokens"]]
    nothing = {"post_processor": None, "truncation": None, "padding": None}
    return {**spec, **nothing, "model": model, "added_tokens": added}


def _added_as(token: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    # Looked for before normalisation: a name that a normaliser changed would reach the model as text.
    return token if name is None else {**token, "content": name, "normalized": False}


def _makes_any_of(merge: Any, names: Mapping[str, str]) -> bool:
    """Whether a BPE merge, `"a b"` or `["a", "b"]`, needs or makes one of some tokens."""
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left + right in names or left in names or right in names


def _load(spec: Mapping[str, Any]) -> Any:
    try:
        return Tokenizer.from_str(json.dumps(spec, ensure_ascii=False))
    except Exception as error:  # the library raises nothing more exact
        raise TokenizerError(f"The model's tokenizer cannot be loaded: {error}") from error

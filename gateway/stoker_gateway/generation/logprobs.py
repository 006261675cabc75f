"""Logprobs in the two shapes that clients know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

FLOOR = -9999.0  # stands for minus infinity, which JSON cannot say; OpenAI's number


class Vocabulary(Protocol):
    """What logprobs need of a model's text side."""

    def token_text(self, token_id: int) -> str:
        """A token as text by itself."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """A token's bytes, which need not be whole characters."""
        ...


class TokenScore(NamedTuple):
    """One token's logprob (None for the first of a prompt), and the best alternatives at its place."""

    token_id: int
    logprob: float | None
    top: Sequence[tuple[int, float]]


def join(
    token_ids: Sequence[int], logprobs: Sequence[float], top: int, top_ids: Sequence[int], top_logprobs: Sequence[float]
) -> list[TokenScore]:
    """Put the wire's flattened arrays together, token by token. Lengths: n, n, –, n·top, n·top."""
    return [
        TokenScore(
            token_id,
            max(logprob, FLOOR),
            [(top_ids[k], max(top_logprobs[k], FLOOR)) for k in range(i * top, (i + 1) * top)],
        )
        for i, (token_id, logprob) in enumerate(zip(token_ids, logprobs, strict=True))
    ]


def content_shape(tokens: Iterable[TokenScore], vocabulary: Vocabulary) -> dict[str, Any]:
    """`{"content": [...]}` as chat has it."""
    return {
        "content": [
            {
                **_entry(token.token_id, token.logprob, vocabulary),
                "top_logprobs": [_entry(token_id, logprob, vocabulary) for token_id, logprob in token.top],
            }
            for token in tokens
        ],
        "refusal": None,
    }


def _entry(token_id: int, logprob: float | None, vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "token": vocabulary.token_text(token_id),
        "logprob": FLOOR if logprob is None else logprob,
        "bytes": list(vocabulary.token_bytes(token_id)),
    }


@dataclass(slots=True)
class LegacyShape:
    """`{"tokens", "token_logprobs", "top_logprobs", "text_offset"}` as completions has it.

    `offset` is where the next token's text begins, in characters of the answer's text (an echoed prompt included).
    """

    vocabulary: Vocabulary
    offset: int = 0

    def take(self, tokens: Iterable[TokenScore]) -> dict[str, Any]:
        """The shape of the next tokens."""
        rows: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in tokens:
            text = self.vocabulary.token_text(token.token_id)
            rows["tokens"].append(text)
            rows["token_logprobs"].append(token.logprob)
            rows["top_logprobs"].append(self._top(token))
            rows["text_offset"].append(self.offset)
            self.offset += len(text)
        return rows

    def _top(self, token: TokenScore) -> dict[str, float] | None:
        """The alternatives by text, the token itself among them; of two with one text the better counts."""
        if token.logprob is None:
            return None
        top = {self.vocabulary.token_text(token.token_id): token.logprob} if token.top else {}
        for token_id, logprob in token.top:
            top.setdefault(self.vocabulary.token_text(token_id), logprob)
        return top

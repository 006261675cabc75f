"""Whole answers: the bodies of requests that do not stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stoker_core.usage import TokenCounts
from stoker_gateway.generation.choice import Choice
from stoker_gateway.generation.logprobs import LegacyShape, Vocabulary, content_shape
from stoker_gateway.generation.plan import LogprobsShape


@dataclass(frozen=True, slots=True)
class Meta:
    """What every object of one answer repeats."""

    id: str
    created_unix_s: int
    model: str
    logprobs: LogprobsShape
    include_usage: bool = False


def usage(counts: TokenCounts) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
        "prompt_tokens_details": {"cached_tokens": counts.cached},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning},
    }


def chat_answer(meta: Meta, choices: Sequence[Choice], counts: TokenCounts, vocabulary: Vocabulary) -> bytes:
    """The body of a chat completion."""
    rows = [
        {
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.take_text(), "refusal": None},
            "logprobs": _logprobs(meta, choice, vocabulary),
            "finish_reason": _finish(choice),
        }
        for choice in choices
    ]
    return _body(meta, "chat.completion", rows, counts)


def completion_answer(meta: Meta, choices: Sequence[Choice], counts: TokenCounts, vocabulary: Vocabulary) -> bytes:
    """The body of a text completion."""
    rows = [
        {
            "index": choice.index,
            "text": choice.take_text(),
            "logprobs": _logprobs(meta, choice, vocabulary),
            "finish_reason": _finish(choice),
        }
        for choice in choices
    ]
    return _body(meta, "text_completion", rows, counts)


def _body(meta: Meta, kind: str, choices: list[dict[str, Any]], counts: TokenCounts) -> bytes:
    return msgspec.json.encode(
        {
            "id": meta.id,
            "object": kind,
            "created": meta.created_unix_s,
            "model": meta.model,
            "choices": choices,
            "usage": usage(counts),
        }
    )


def _logprobs(meta: Meta, choice: Choice, vocabulary: Vocabulary) -> dict[str, Any] | None:
    match meta.logprobs:
        case LogprobsShape.CONTENT:
            return content_shape(choice.take_scores(), vocabulary)
        case LogprobsShape.LEGACY:
            return LegacyShape(vocabulary).take(choice.take_scores())
        case LogprobsShape.NONE:
            return None


def _finish(choice: Choice) -> str | None:
    return choice.finish.value if choice.finish else None

"""Streamed answers: server-sent events from templates that are rendered once per request.

A token costs one JSON escape and two concatenations; only logprobs and the last event are encoded as objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from stoker_core.usage import TokenCounts
from stoker_gateway.generation.answers import Meta, usage
from stoker_gateway.generation.choice import Choice
from stoker_gateway.generation.logprobs import LegacyShape, Vocabulary, content_shape
from stoker_gateway.generation.plan import LogprobsShape

DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Style:
    """Where one endpoint's chunks differ: `before` and `after` stand around the JSON text of a piece."""

    object: bytes
    before: bytes
    after: bytes
    empty: bytes  # in place of all three when there is no text
    first: bytes  # a choice's first chunk, if it has one of its own


CHAT: Final = Style(
    object=b"chat.completion.chunk",
    before=b'"delta":{"content":',
    after=b"}",
    empty=b'"delta":{}',
    first=b'"delta":{"role":"assistant","content":"","refusal":null}',
)
COMPLETION: Final = Style(object=b"text_completion", before=b'"text":', after=b"", empty=b'"text":""', first=b"")


class ChunkWriter:
    """The events of one stream, in order: `first`, any number of `news`, then `last`."""

    def __init__(self, style: Style, meta: Meta, choices: Sequence[Choice], vocabulary: Vocabulary) -> None:
        self._style = style
        self._meta = meta
        self._choices = choices
        self._vocabulary = vocabulary
        self._open = {choice.index for choice in choices}
        self._head = b'data: {"id":%b,"object":"%b","created":%d,"model":%b,' % (
            _encode(meta.id),
            style.object,
            meta.created_unix_s,
            _encode(meta.model),
        )
        self._usage = b',"usage":null' if meta.include_usage else b""
        self._text_head = [self._choice_head(choice) + style.before for choice in choices]
        self._text_tail = style.after + b',"logprobs":null,"finish_reason":null}]' + self._usage + b"}\n\n"
        self._legacy = [LegacyShape(vocabulary) for _ in choices]

    def first(self) -> bytes:
        """What is sent as soon as a worker has accepted."""
        first = self._style.first
        return b"".join([self._chunk(c, first, b"null", b"null", self._usage) for c in self._choices]) if first else b""

    def news(self) -> bytes:
        """Everything the choices have gathered since the last call."""
        pieces = []
        for position, choice in enumerate(self._choices):
            if choice.text or choice.scores:
                pieces.append(self._piece(position, choice))
            if choice.finish is not None and choice.index in self._open and len(self._open) > 1:
                self._open.discard(choice.index)
                pieces.append(self._finish(choice, self._usage))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def last(self, counts: TokenCounts) -> bytes:
        """The finish of the choice that ended last, usage, and the end mark."""
        used = b',"usage":' + _encode(usage(counts))
        pieces = [self.news()]
        closing = self._usage if self._meta.include_usage else used
        pieces += [self._finish(choice, closing) for choice in self._choices if choice.index in self._open]
        if self._meta.include_usage:
            pieces.append(self._head + b'"choices":[]' + used + b"}\n\n")
        pieces.append(DONE)
        return b"".join(pieces)

    def _piece(self, position: int, choice: Choice) -> bytes:
        text = _encode(choice.take_text())
        if self._meta.logprobs is LogprobsShape.NONE:
            return self._text_head[position] + text + self._text_tail
        body = self._style.before + text + self._style.after
        return self._chunk(choice, body, self._logprobs(position, choice), b"null", self._usage)

    def _logprobs(self, position: int, choice: Choice) -> bytes:
        tokens = choice.take_scores()
        if self._meta.logprobs is LogprobsShape.LEGACY:
            return _encode(self._legacy[position].take(tokens))
        return _encode(content_shape(tokens, self._vocabulary))

    def _finish(self, choice: Choice, used: bytes) -> bytes:
        reason = _encode(choice.finish.value if choice.finish else None)
        return self._chunk(choice, self._style.empty, b"null", reason, used)

    def _chunk(self, choice: Choice, body: bytes, logprobs: bytes, reason: bytes, used: bytes) -> bytes:
        end = b',"logprobs":%b,"finish_reason":%b}]%b}\n\n' % (logprobs, reason, used)
        return self._choice_head(choice) + body + end

    def _choice_head(self, choice: Choice) -> bytes:
        return self._head + b'"choices":[{"index":%d,' % choice.index

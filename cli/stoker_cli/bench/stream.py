"""One streamed request against an OpenAI-compatible server, timed."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from stoker_cli.bench.prompts import PromptKind
from stoker_cli.bench.results import CountedBy, Timing
from stoker_cli.errors import ServerFailure
from stoker_cli.http import Connection, Response, Target, encode


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _ErrorBody(msgspec.Struct):
    message: str = ""


class _Chunk(msgspec.Struct):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _ErrorBody | str | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


@dataclass(frozen=True, slots=True)
class Api:
    """How requests to one server are written.

    fixed_length   ask that every answer has exactly the output limit: `ignore_eos` and `min_tokens`, which OpenAI's
                   own service refuses and vLLM, llama.cpp and others take
    extra          further fields of the body
    """

    target: Target
    model: str
    kind: PromptKind
    key: str | None = None
    fixed_length: bool = True
    extra: Mapping[str, object] = field(default_factory=dict)

    def request(self, prompt: str | list[int], max_tokens: int) -> bytes:
        """One streamed request as bytes."""
        body: dict[str, object] = {"model": self.model, "max_tokens": max_tokens, "temperature": 0, "stream": True}
        body["stream_options"] = {"include_usage": True}
        if self.kind is PromptKind.CHAT:
            path, body["messages"] = "/chat/completions", [{"role": "user", "content": prompt}]
        else:
            path, body["prompt"] = "/completions", prompt
        if self.fixed_length:
            body["ignore_eos"], body["min_tokens"] = True, max_tokens
        return encode(self.target, "POST", path, msgspec.json.encode(body | dict(self.extra)), self.key)


@dataclass(slots=True)
class StreamReader:
    """Collects what a benchmark wants to know of a server-sent event stream, in pieces as they arrive."""

    pieces: list[float] = field(default_factory=list)
    usage: _Usage | None = None
    finish_reason: str = ""
    error: str = ""
    _rest: bytes = b""

    def feed(self, piece: bytes, now: float) -> None:
        """Take a piece of the body that arrived at `now`."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                self._event(line[6:], now)

    def _event(self, data: bytes, now: float) -> None:
        try:
            chunk = _CHUNK.decode(data)
        except msgspec.MsgspecError:
            self.error = "an event that is no completion chunk"
            return
        if chunk.error is not None:
            self.error = chunk.error if isinstance(chunk.error, str) else chunk.error.message
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.text or (choice.delta and (choice.delta.content or choice.delta.reasoning_content)):
                self.pieces.append(now)

    def output_tokens(self, max_tokens: int) -> tuple[int, CountedBy]:
        """How many tokens came, and how that is known."""
        if self.usage is not None:
            return self.usage.completion_tokens, CountedBy.USAGE
        if self.finish_reason == "length":
            return max_tokens, CountedBy.LIMIT
        return len(self.pieces), CountedBy.CHUNKS


async def timed(connection: Connection, api: Api, prompt: str | list[int], max_tokens: int) -> Timing:
    """Send one request and time its answer. A failure is a Timing with `error`, never an exception."""
    request = api.request(prompt, max_tokens)
    reader, plain = StreamReader(), bytearray()

    def take(piece: bytes, now: float) -> None:
        if len(plain) < 4096:  # enough to quote an error from
            plain.extend(piece)
        reader.feed(piece, now)

    sent_s = time.perf_counter()
    try:
        response = await connection.request(request, take)
    except ServerFailure as failure:
        return Timing(sent_s, time.perf_counter(), tuple(reader.pieces), error=str(failure))
    ended_s = time.perf_counter()
    tokens, counted_by = reader.output_tokens(max_tokens)
    error = (
        _http_error(response, bytes(plain)) or reader.error or ("" if reader.pieces or tokens else "an empty answer")
    )
    inputs = reader.usage.prompt_tokens if reader.usage else None
    return Timing(sent_s, ended_s, tuple(reader.pieces), inputs, tokens, counted_by, error)


async def once(api: Api, prompt: str | list[int], max_tokens: int) -> Timing:
    """`timed` on a connection of its own. Raises ServerFailure if nobody answers, or the answer is an error."""
    connection = await Connection.open(api.target)
    try:
        timing = await timed(connection, api, prompt, max_tokens)
    finally:
        connection.close()
    if timing.error:
        raise ServerFailure(f"{api.target.url} answered: {timing.error}")
    return timing


async def connect_all(target: Target, count: int) -> list[Connection]:
    """So many open connections. Raises ServerFailure."""
    return list(await asyncio.gather(*(Connection.open(target) for _ in range(count))))


def _http_error(response: Response, body: bytes) -> str:
    if response.status == 200:
        return ""
    return f"HTTP {response.status}: {error_message(body)}"


def error_message(body: bytes) -> str:
    """The sentence in an OpenAI error body, or the body's beginning where it is none."""
    try:
        error = _CHUNK.decode(body).error
    except msgspec.MsgspecError:
        error = None
    message = error.message if isinstance(error, _ErrorBody) else error
    return message or body[:200].decode("utf-8", "replace").strip() or "(no text)"

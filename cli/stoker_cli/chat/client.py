"""Streamed answers from an OpenAI-compatible chat endpoint."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from stoker_cli.errors import BadInput, ServerFailure

# An answer may take long to begin (a queue, a cold model); a connection may not.
TIMEOUT = httpx.Timeout(connect=5.0, read=600.0, write=30.0, pool=5.0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is asked of the model; None leaves it to the server."""

    max_tokens: int | None = None
    temperature: float | None = None

    def fields(self) -> dict[str, float]:
        """The body's fields."""
        given = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(slots=True)
class Speed:
    """How fast an answer came. `tokens` is the server's count, or the number of pieces where it gives none."""

    asked_s: float = field(default_factory=time.perf_counter)
    first_s: float | None = None
    last_s: float = 0.0
    pieces: int = 0
    counted: int | None = None

    def piece(self) -> None:
        """A piece of text arrived."""
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s
        self.pieces += 1

    def __str__(self) -> str:
        if self.first_s is None:
            return "no answer"
        tokens = self.counted if self.counted is not None else self.pieces
        after_first = self.last_s - self.first_s
        rate = f"{(tokens - 1) / after_first:.1f} tok/s · " if tokens > 1 and after_first > 0 else ""
        return f"{tokens} tokens · {rate}TTFT {self.first_s - self.asked_s:.2f} s"


class ChatClient:
    """One server. Use as a context manager."""

    def __init__(self, url: str, key: str | None) -> None:
        """Raises BadInput for anything that is no http URL."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=TIMEOUT)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise BadInput(f"{url!r} cannot be used as a URL: {error}") from None
        if self._http.base_url.scheme not in ("http", "https") or not self._http.base_url.host:
            raise BadInput(f"{url!r} is no http URL; write it like http://127.0.0.1:8000/v1")
        self.url = url

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def first_model(self) -> str:
        """The id of the first model that the server lists. Raises ServerFailure or BadInput."""
        with self._failures():
            response = self._http.get("models")
            _check(response)
            try:
                models = [str(model["id"]) for model in response.json()["data"]]
            except (ValueError, KeyError, TypeError):
                raise BadInput(f"{self.url} is no OpenAI-compatible API; its URL usually ends in /v1") from None
        if not models:
            raise BadInput(f"{self.url} serves no model yet; give one with --model")
        return models[0]

    def answer(
        self, model: str, messages: Sequence[dict[str, str]], sampling: Sampling, speed: Speed
    ) -> Generator[str, None, None]:
        """Yield the pieces of the answer's text as they arrive, and keep `speed`.

        Raises ServerFailure, or BadInput if the server says that the request is at fault.
        """
        body = {
            "model": model,
            "messages": list(messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            **sampling.fields(),
        }
        with self._failures(), self._http.stream("POST", "chat/completions", json=body) as response:
            if response.status_code != 200:
                response.read()
            _check(response)
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    yield from _pieces(msgspec.json.decode(line[6:]), speed)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            raise ServerFailure(
                f"nobody answers at {self.url}; start a server with `stoker up`, or give --url"
            ) from None
        except httpx.HTTPError as error:
            raise ServerFailure(f"the connection to {self.url} failed: {error or type(error).__name__}") from None
        except msgspec.MsgspecError:
            raise ServerFailure(f"{self.url} sent something that is no chat completion") from None


def _pieces(event: Any, speed: Speed) -> Iterator[str]:
    """The text in one event. Raises ServerFailure if the event is an error."""
    if error := event.get("error"):
        raise ServerFailure(error.get("message") or str(error) if isinstance(error, dict) else str(error))
    if usage := event.get("usage"):
        speed.counted = usage.get("completion_tokens")
    for choice in event.get("choices") or ():
        if text := (choice.get("delta") or {}).get("content"):
            speed.piece()
            yield text


def _check(response: httpx.Response) -> None:
    """Raises BadInput for a status that blames the request, ServerFailure for one that blames the server."""
    status = response.status_code
    if status == 200:
        return
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{response.url} answered HTTP {status}"
    if status == 401:
        message += " (give it with --key or STOKER_API_KEY)"
    raise (BadInput if 400 <= status < 500 and status not in (408, 429) else ServerFailure)(message)

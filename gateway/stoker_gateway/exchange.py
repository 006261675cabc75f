"""What a handler sees of an HTTP request: the seam between handlers and whatever serves sockets."""

from collections.abc import Callable, Sequence
from typing import Protocol

Headers = Sequence[tuple[bytes, bytes]]

JSON_HEADERS: Headers = ((b"content-type", b"application/json"),)
EVENT_STREAM_HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the stream otherwise
)


class Exchange(Protocol):
    """One request and its answer.

    Either `respond` once, or `start`, any number of `write`, then `finish`. Leaving a started answer without `finish`
    breaks the connection off, which is how a failed stream ends.
    """

    @property
    def method(self) -> str:
        """Upper case."""
        ...

    @property
    def path(self) -> str:
        """Percent-decoded."""
        ...

    @property
    def status(self) -> int:
        """The status that was sent, 0 before that."""
        ...

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        ...

    async def read_body(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge beyond `limit` bytes, ClientGone."""
        ...

    def on_closed(self, callback: Callable[[], None]) -> None:
        """Call back once if the client goes away before the answer is complete. Only after the body was read."""
        ...

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer."""
        ...

    def start(self, status: int, headers: Headers, data: bytes = b"") -> None:
        """Status, headers and first piece of a streamed answer."""
        ...

    @property
    def paused(self) -> bool:
        """The client reads more slowly than we write: whoever can wait, writes no more until `on_writable` tells."""
        ...

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Call back each time the client has caught up, or is gone."""
        ...

    def write(self, data: bytes) -> None:
        """A piece of a streamed answer, not empty. Goes out at once; what the client does not take is buffered."""
        ...

    def finish(self, data: bytes = b"") -> None:
        """The last piece."""
        ...

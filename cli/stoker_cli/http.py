"""A small HTTP/1.1 client on asyncio, made to measure: it shares the machine with the server that it drives.

A connection carries one request at a time and is kept open. Bodies are handed over as they arrive, each piece with the
clock reading of its arrival, because the time between pieces is what a benchmark asks about.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import urlsplit

from stoker_cli.errors import BadInput, ServerFailure

OnData = Callable[[bytes, float], None]  # piece of the body, time.perf_counter() at its arrival


@dataclass(frozen=True, slots=True)
class Target:
    """Where an API lives. `base` is the path before `/completions` and the like, without a slash at its end."""

    host: str
    port: int
    base: str
    tls: bool

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Read "http://host:port/v1". Raises BadInput for anything that is no http(s) URL."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError:
            raise BadInput(f"{url!r} is no URL; write it like http://127.0.0.1:8000/v1") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{url!r} is no http URL; write it like http://127.0.0.1:8000/v1")
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), parts.path.rstrip("/"), tls)

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL that `parse` reads back to this."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.base}"


@dataclass(slots=True)
class Response:
    """Status and headers (names in lower case); the body has gone to the request's `on_data`."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


class _Reading(Enum):
    HEAD = auto()
    SIZED = auto()  # content-length
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()  # the line end after a chunk
    TRAILERS = auto()
    UNTIL_CLOSE = auto()


class Connection(asyncio.Protocol):
    """One connection. `open` makes it, `request` uses it any number of times, one after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._reading = _Reading.HEAD
        self._left = 0  # bytes of the body or chunk still to come
        self._response = Response(0)
        self._on_data: OnData = _ignore
        self._done: asyncio.Future[Response] | None = None

    @classmethod
    async def open(cls, target: Target) -> "Connection":
        """Connect. Raises ServerFailure if nobody answers."""
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if target.tls else None
        try:
            _, connection = await loop.create_connection(cls, target.host, target.port, ssl=context)
        except OSError as error:
            raise ServerFailure(f"cannot connect to {target.url}: {error.strerror or error}") from None
        return connection

    @property
    def usable(self) -> bool:
        """Open and idle."""
        return self._transport is not None and not self._transport.is_closing() and self._done is None

    async def request(self, head_and_body: bytes, on_data: OnData) -> Response:
        """Send one request as encoded by `encode`; return when the response is complete.

        Raises ServerFailure if the server breaks off or answers something that is no HTTP.
        """
        assert self._transport is not None
        assert self._done is None, "a connection carries one request at a time"
        self._on_data, self._reading, self._response = on_data, _Reading.HEAD, Response(0)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(head_and_body)
        try:
            return await self._done
        except BaseException:
            self.close()  # what is left of the response would be read as the next one's
            raise
        finally:
            self._done = None

    def close(self) -> None:
        """Close at once; a request under way fails."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._transport = None
        if self._reading is _Reading.UNTIL_CLOSE and exc is None:
            self._finish()
        else:
            self._fail("the server closed the connection before its answer was complete")

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        now = time.perf_counter()
        self._buffer += data
        try:
            while self._step(now):
                pass
        except ValueError:
            self._fail("the server's answer is no HTTP")

    def _step(self, now: float) -> bool:
        """Consume one element of the response; False when more bytes are needed."""
        match self._reading:
            case _Reading.HEAD:
                return self._read_head()
            case _Reading.SIZED | _Reading.CHUNK | _Reading.UNTIL_CLOSE:
                return self._read_body(now)
            case _Reading.CHUNK_SIZE:
                return self._read_chunk_size()
            case _Reading.CHUNK_END:
                if self._line() is None:
                    return False
                self._reading = _Reading.CHUNK_SIZE
                return True
            case _Reading.TRAILERS:
                return self._read_trailers()

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        status_line, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, status = status_line.split(" ")[:2]
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if int(status) < 200:  # an interim response; the real one follows
            return True
        self._response = Response(int(status), headers)
        return self._begin_body(headers)

    def _begin_body(self, headers: dict[str, str]) -> bool:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            self._reading = _Reading.CHUNK_SIZE
            return True
        length = headers.get("content-length")
        if length is None and self._response.status not in (204, 304):
            self._reading = _Reading.UNTIL_CLOSE
            return True
        self._left = int(length or 0)
        self._reading = _Reading.SIZED
        return self._left > 0 or self._finish()

    def _read_body(self, now: float) -> bool:
        if not self._buffer:
            return False
        if self._reading is _Reading.UNTIL_CLOSE:
            self._left = len(self._buffer)
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(piece)
        self._on_data(piece, now)
        if self._left:
            return False
        if self._reading is _Reading.SIZED:
            return self._finish()
        if self._reading is _Reading.CHUNK:
            self._reading = _Reading.CHUNK_END
        return True

    def _read_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        self._left = int(line.split(b";", 1)[0], 16)
        self._reading = _Reading.CHUNK if self._left else _Reading.TRAILERS
        return True

    def _read_trailers(self) -> bool:
        line = self._line()
        if line is None:
            return False
        return self._finish() if not line else True

    def _finish(self) -> bool:
        self._reading = _Reading.HEAD
        if self._response.headers.get("connection", "").lower() == "close" and self._transport is not None:
            self._transport.close()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._response)
        return False

    def _fail(self, message: str) -> None:
        if self._transport is not None:
            self._transport.abort()
        if self._done is not None and not self._done.done():
            self._done.set_exception(ServerFailure(message))


def encode(target: Target, method: str, path: str, body: bytes = b"", key: str | None = None) -> bytes:
    """A request as bytes. `path` follows the target's base."""
    lines = [
        f"{method} {target.base}{path} HTTP/1.1",
        f"Host: {target.authority}",
        "User-Agent: stoker",
        "Accept: application/json, text/event-stream",
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def check_key(key: str | None) -> str | None:
    """`key`, if it can stand in a header. Raises BadInput."""
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise BadInput("the API key has characters that no key has; copy it again")
    return key or None


async def get(target: Target, path: str, key: str | None = None) -> tuple[int, bytes]:
    """Fetch a small document: status and body. Raises ServerFailure."""
    pieces: list[bytes] = []
    connection = await Connection.open(target)
    try:
        response = await connection.request(encode(target, "GET", path, key=key), lambda piece, _: pieces.append(piece))
    finally:
        connection.close()
    return response.status, b"".join(pieces)


def _ignore(_piece: bytes, _now: float) -> None:
    """What arrives while no request is under way has no reader."""

"""An Exchange over a connection's own transport: uvicorn reads and frames requests, answers pass no layer of ASGI."""

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from stoker_gateway.errors import BodyTooLarge, ClientGone, RequestTooSlow
from stoker_gateway.exchange import Headers

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = (b"transfer-encoding", b"chunked")
CLOSE = (b"connection", b"close")


class SocketExchange:
    """One request. `cycle` is uvicorn's record of it, which the protocol fills while the request comes in."""

    __slots__ = ("_closed", "_cycle", "_late", "_transport", "_writable", "method", "path", "status")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self.method: str = cycle.scope["method"]
        self.path: str = cycle.scope["path"]
        self.status = 0
        self._cycle = cycle
        self._transport = cycle.transport
        self._late: RequestTooSlow | None = None
        self._closed: Callable[[], None] | None = None
        self._writable: Callable[[], None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """See `Exchange`."""
        for key, value in self._cycle.scope["headers"]:
            if key == name:
                return value
        return None

    async def read_body(self, limit: int) -> bytes:
        """See `Exchange`."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        cycle = self._cycle
        if cycle.waiting_for_100_continue:
            self._transport.write(CONTINUE)
            cycle.waiting_for_100_continue = False
        while cycle.more_body and not (cycle.disconnected or self._late) and len(cycle.body) <= limit:
            cycle.flow.resume_reading()
            cycle.message_event.clear()
            await cycle.message_event.wait()
        if cycle.disconnected:
            raise ClientGone
        if self._late:
            raise self._late
        if len(cycle.body) > limit:
            raise _too_large(limit)
        return bytes(cycle.body)

    def on_closed(self, callback: Callable[[], None]) -> None:
        """See `Exchange`."""
        self._closed = callback
        if self._cycle.disconnected:
            callback()

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Exchange`."""
        head = self._head(status, [*headers, (b"content-length", b"%d" % len(body))])
        self._write(head if self.method == "HEAD" else head + body)
        self._complete()

    def start(self, status: int, headers: Headers, data: bytes = b"") -> None:
        """See `Exchange`."""
        head = self._head(status, [*headers, CHUNKED])
        self._write(head + _chunk(data) if data else head)

    @property
    def paused(self) -> bool:
        """See `Exchange`."""
        return self._cycle.flow.write_paused

    def on_writable(self, callback: Callable[[], None]) -> None:
        """See `Exchange`."""
        self._writable = callback

    def write(self, data: bytes) -> None:
        """See `Exchange`."""
        self._write(_chunk(data))

    def finish(self, data: bytes = b"") -> None:
        """See `Exchange`."""
        self._write(_chunk(data) + b"0\r\n\r\n" if data else b"0\r\n\r\n")
        self._complete()

    def close(self) -> None:
        """The handler has returned: an answer that it left unfinished ends with the connection."""
        self._closed = self._writable = None
        if not self._cycle.response_complete:
            self._transport.close()

    def too_slow(self, error: RequestTooSlow) -> None:
        """The protocol's call when the time is up before the whole body is here."""
        self._late = error
        self._cycle.message_event.set()

    def connection_lost(self) -> None:
        """The protocol's call when the client has gone away."""
        if self._closed is not None:
            self._closed()

    def writable(self) -> None:
        """The protocol's call when the client has caught up with what was written."""
        if self._writable is not None:
            self._writable()

    def _head(self, status: int, headers: Headers) -> bytes:
        cycle = self._cycle
        self.status = status
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        headers = [*cycle.default_headers, *headers]
        if CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append(CLOSE)
        return head(status, headers)

    def _write(self, data: bytes) -> None:
        if not self._cycle.disconnected:
            self._transport.write(data)

    def _complete(self) -> None:
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._transport.close()
        cycle.on_response()


def head(status: int, headers: Headers) -> bytes:
    """An answer up to its body."""
    return b"".join([STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"])


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit} bytes. Send a smaller request.")

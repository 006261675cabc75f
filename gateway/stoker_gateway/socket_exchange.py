"""An Exchange over a connection's own transport: uvicorn reads and frames requests, answers pass no layer of ASGI."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from stoker_gateway.errors import BodyTooLarge, ClientGone
from stoker_gateway.exchange import Exchange, Headers

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = (b"transfer-encoding", b"chunked")
CLOSE = (b"connection", b"close")

HotRoutes = Mapping[str, Callable[[Exchange], Awaitable[None]]]


class SocketExchange:
    """One request. `cycle` is uvicorn's record of it, which the protocol fills while the request comes in."""

    __slots__ = ("_closed", "_cycle", "_transport", "_writable", "method", "path", "status")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self.method: str = cycle.scope["method"]
        self.path: str = cycle.scope["path"]
        self.status = 0
        self._cycle = cycle
        self._transport = cycle.transport
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
        while cycle.more_body and not cycle.disconnected and len(cycle.body) <= limit:
            cycle.flow.resume_reading()
            cycle.message_event.clear()
            await cycle.message_event.wait()
        if cycle.disconnected:
            raise ClientGone
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
        if CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers = [*headers, CLOSE]
        lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
        return b"".join([STATUS_LINE[status], *lines, b"\r\n"])

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


class HotProtocol(HttpToolsProtocol):
    """uvicorn's connection, except that requests for `hot` paths go straight to their routes."""

    def __init__(self, *args: Any, hot: HotRoutes, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hot = hot
        self._exchange: SocketExchange | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        route = self._hot.get(cycle.scope["path"])
        if route is None:
            self._exchange = None
            super()._start_asgi_task(cycle, app)
            return
        self._exchange = exchange = SocketExchange(cycle)
        task = self.loop.create_task(_answer(route, exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we have closed the connection."""
        super().connection_lost(exc)
        if self._exchange is not None:
            self._exchange.connection_lost()

    def resume_writing(self) -> None:
        """The transport has room again."""
        super().resume_writing()
        if self._exchange is not None:
            self._exchange.writable()


async def _answer(route: Callable[[Exchange], Awaitable[None]], exchange: SocketExchange) -> None:
    try:
        await route(exchange)
    finally:
        exchange.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit} bytes. Send a smaller request.")

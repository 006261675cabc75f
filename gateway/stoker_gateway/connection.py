"""A client's connection: uvicorn reads and frames its requests, within bounds; those for hot routes pass no layer of ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stoker_gateway.errors import ApiError, HeadTooLarge, RequestTooSlow, answer
from stoker_gateway.exchange import JSON_HEADERS, Exchange
from stoker_gateway.socket_exchange import SocketExchange, head

MAX_HEAD_BYTES = 64 * 1024  # of a request; what arrives together with its first byte is not counted

Route = Callable[[Exchange], Awaitable[None]]
HotRoutes = Mapping[str, Route]


class Incoming(Enum):
    """What of a request comes next."""

    NOTHING_YET = auto()
    HEAD = auto()
    BODY = auto()


class Connection(HttpToolsProtocol):
    """One client. uvicorn's protocol, except for hot routes and for what a request may cost while it comes in.

    `receive_timeout_s` is for a request as a whole, so that nobody holds a connection by sending byte after byte. It
    begins with the request's first byte, and for a new connection at once.
    """

    def __init__(self, *args: Any, hot: HotRoutes, receive_timeout_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hot = hot
        self._receive_timeout_s = receive_timeout_s
        self._incoming = Incoming.NOTHING_YET
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._exchange: SocketExchange | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it
        """A client is here."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we have closed the connection."""
        self._expect_no_more()
        super().connection_lost(exc)
        if self._exchange is not None:
            self._exchange.connection_lost()

    def resume_writing(self) -> None:
        """The transport has room again."""
        super().resume_writing()
        if self._exchange is not None:
            self._exchange.writable()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        route = self._hot.get(cycle.scope["path"])
        if route is None:
            self._exchange = None
            super()._start_asgi_task(cycle, app)
            return
        self._exchange = SocketExchange(cycle)
        task = self.loop.create_task(_serve(route, self._exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # ------------------------------------------------------------------------------------- while a request comes in

    def data_received(self, data: bytes) -> None:
        """More of a request, or of several."""
        if self._deadline is None:
            self._expect()
        before = self.scope  # uvicorn makes a new one for every request
        super().data_received(data)
        if self._incoming is Incoming.HEAD and self.scope is before:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HeadTooLarge(f"The request's head is larger than {MAX_HEAD_BYTES} bytes. Shorten it."))

    def on_message_begin(self) -> None:
        """The parser's call at the first byte of a request."""
        super().on_message_begin()
        self._incoming = Incoming.HEAD
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The parser's call between head and body."""
        self._incoming = Incoming.BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser's call at the end of a request."""
        self._incoming = Incoming.NOTHING_YET
        self._expect_no_more()
        super().on_message_complete()

    def _expect(self) -> None:
        self._deadline = self.loop.call_later(self._receive_timeout_s, self._too_slow)

    def _expect_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        error = RequestTooSlow(f"The request did not arrive within {self._receive_timeout_s:g} s. Send it faster.")
        if self.pipeline or self._answering:
            self._expect()  # it is our turn: what was sent ahead may wait
        elif self._incoming is Incoming.HEAD:
            self._refuse(error)
        elif self._exchange is not None and not self.cycle.response_complete:
            self._exchange.too_slow(error)
        else:
            self.transport.close()

    @property
    def _answering(self) -> bool:
        """A request has arrived whole and its answer is under way."""
        return self._incoming is not Incoming.BODY and self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: ApiError) -> None:
        """Answer what is no request yet, and close."""
        if not self.transport.is_closing():
            told = answer(error)
            headers = [*self.server_state.default_headers, *JSON_HEADERS, *told.headers]
            length = (b"content-length", b"%d" % len(told.body))
            self.transport.write(head(told.status, [*headers, length]) + told.body)
            self.transport.close()


async def _serve(route: Route, exchange: SocketExchange) -> None:
    try:
        await route(exchange)
    finally:
        exchange.close()

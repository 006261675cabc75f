"""An Exchange over ASGI."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from stoker_gateway.errors import BodyTooLarge, ClientGone
from stoker_gateway.exchange import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiExchange:
    """One ASGI call. `aclose` must follow, so that nothing watches the connection any longer."""

    __slots__ = ("_headers", "_receive", "_send", "_watcher", "method", "path", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.status = 0
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send
        self._watcher: asyncio.Task[None] | None = None

    def header(self, name: bytes) -> bytes | None:
        """See `Exchange`."""
        for key, value in self._headers:
            if key == name:
                return value
        return None

    async def read_body(self, limit: int) -> bytes:
        """See `Exchange`."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        message = await self._next()
        body: bytes = message.get("body", b"")
        if not message.get("more_body") and len(body) <= limit:
            return body
        pieces, size = [body], len(body)
        while message.get("more_body") and size <= limit:
            message = await self._next()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
        return b"".join(pieces)

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message

    def on_closed(self, callback: Callable[[], None]) -> None:
        """See `Exchange`."""
        self._watcher = asyncio.create_task(self._watch(callback))

    async def _watch(self, callback: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        callback()

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """See `Exchange`."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.finish(body)

    async def start(self, status: int, headers: Headers) -> None:
        """See `Exchange`."""
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def write(self, data: bytes) -> Awaitable[None]:
        """See `Exchange`. Hands out the server's own awaitable: one frame less per token."""
        return self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self, data: bytes = b"") -> None:
        """See `Exchange`."""
        await self._send({"type": "http.response.body", "body": data})

    def aclose(self) -> None:
        """Stop watching for the client's departure."""
        if self._watcher is not None:
            self._watcher.cancel()


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit} bytes. Send a smaller request.")

"""One call: what is still to be sent, what has come, and how it ended."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.rpc.messages import MessageReader, delimited

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Headers = Iterable[tuple[bytes, bytes]]

# For an answer that is not gRPC's: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
HTTP_CODES = {
    b"400": Code.INTERNAL,
    b"401": Code.UNAUTHENTICATED,
    b"403": Code.PERMISSION_DENIED,
    b"404": Code.UNIMPLEMENTED,
    b"429": Code.UNAVAILABLE,
    b"502": Code.UNAVAILABLE,
    b"503": Code.UNAVAILABLE,
    b"504": Code.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """A method of a service: its path, and the types of what goes and comes."""

    path: str
    request: type[Request]
    response: type[Response]


class Link(Protocol):
    """The connection that carries a call."""

    def push(self, call: "AnyCall") -> None:
        """Send what flow control permits of its outgoing bytes."""

    def cancel(self, call: "AnyCall") -> None:
        """End it from this side, unless it is over."""

    def reset(self, call: "AnyCall") -> None:
        """Tell the peer that nobody listens to it any more."""


class Call(Generic[Request, Response]):
    """Sends messages, and hands those that come to `on_message` in the turn of the loop that reads them.

    `on_message` must be quick; by raising RpcError it ends the call.
    """

    def __init__(
        self,
        link: Link,
        stream_id: int,
        method: Method[Request, Response],
        on_message: Callable[[Response], None],
    ) -> None:
        self.stream_id = stream_id
        self.outgoing = bytearray()  # what flow control has not let go yet
        self.half_closed = False  # whether the end of ours is to be sent behind it
        self._link = link
        self._parse = method.response.FromString
        self._on_message = on_message
        self._reader = MessageReader()
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._finished.done()

    def send(self, message: Request) -> None:
        """Send a message, as soon as the peer has room for it; into a call that is over it goes nowhere."""
        if not self.is_over:
            self.outgoing += delimited(message.SerializeToString())
            self._link.push(self)

    def send_last(self, message: Request) -> None:
        """Send a message and say that no other follows."""
        self.half_closed = True
        self.send(message)

    def cancel(self) -> None:
        """End it from this side, unless it is over."""
        self._link.cancel(self)

    async def finished(self) -> None:
        """Return when the peer has ended it well. Raises RpcError for any other end; cancelling cancels the call."""
        try:
            await self._finished
        finally:
            self.cancel()

    # ------------------------------------------------------------------------------- what the channel reads

    def take_data(self, data: bytes) -> None:
        """Some bytes of messages."""
        try:
            for message in self._reader.feed(data):
                self._on_message(self._parse(message))
        except DecodeError:
            self._fail(RpcError(Code.INTERNAL, "it sent what is not a message of this protocol"))
        except RpcError as error:
            self._fail(error)

    def take_headers(self, headers: Headers) -> None:
        """The head of the answer, or its trailers: the end, if a status is among them."""
        named = dict(headers)
        http = named.get(b":status", b"200")
        if (status := named.get(b"grpc-status")) is not None:
            self._end(status)
        elif http != b"200":
            self._fail(
                RpcError(HTTP_CODES.get(http, Code.UNKNOWN), f"it answered HTTP {http.decode('ascii', 'replace')}")
            )

    def close(self, error: RpcError) -> None:
        """It is over, with this error unless it has ended before."""
        if not self._finished.done():
            self._finished.set_exception(error)
            self._finished.exception()  # nobody needs to ask

    def _end(self, status: bytes) -> None:
        code = Code(int(status)) if status.isdigit() and int(status) < len(Code) else Code.UNKNOWN
        if code is not Code.OK:
            self.close(RpcError(code, "it refused"))
        elif not self._reader.between:
            self.close(RpcError(Code.INTERNAL, "it ended within a message"))
        elif not self._finished.done():
            self._finished.set_result(None)

    def _fail(self, error: RpcError) -> None:
        self.close(error)
        self._link.reset(self)


AnyCall = Call[Any, Any]

"""One HTTP/2 connection to a gRPC server. h2 keeps the protocol's rules; this joins it to a socket and to calls.

Everything that has come is dealt with in the turn of the loop that reads it. gRPC's own Python client passes each message
through two threads and wakes a task for it, which costs several times as much (docs/adr/0011).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from google.protobuf.message import Message
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from stoker_gateway.rpc.call import AnyCall, Call, Method
from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.rpc.tls import ClientTls, check_identity

# What a peer may send before we have read it; messages are taken up at once, so it costs no memory.
STREAM_WINDOW = 4 * 1024 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024
UNIX = "unix:"
FAREWELL_S = 0.5

RESETS: dict[int, Code] = {
    ErrorCodes.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCodes.CANCEL: Code.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Channel(asyncio.Protocol):
    """Made by `connect`. Calls beside each other share it; when it is lost, all of them end with UNAVAILABLE."""

    def __init__(self, authority: str, scheme: str = "http") -> None:
        self._authority = authority.encode()
        self._scheme = scheme.encode()
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._calls: dict[int, AnyCall] = {}
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            DataReceived: self._data,
            ResponseReceived: self._headers,
            TrailersReceived: self._headers,
            StreamEnded: self._ended,
            StreamReset: self._was_reset,
            WindowUpdated: self._may_send,
            RemoteSettingsChanged: self._may_send,
            ConnectionTerminated: self._terminated,
        }

    # ---------------------------------------------------------------------------------------------- calls

    def call(
        self, method: Method[Request, Response], on_message: Callable[[Response], None]
    ) -> Call[Request, Response]:
        """Begin a call. Raises RpcError if the connection is lost."""
        return self._begin(method, on_message, ())

    async def ask(
        self,
        method: Method[Request, Response],
        request: Request,
        on_message: Callable[[Response], None],
        timeout_s: float,
    ) -> None:
        """Send one request and hand on every message of the answer. Raises RpcError, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            call = self._begin(method, on_message, ((b"grpc-timeout", b"%dm" % max(1, round(timeout_s * 1000))),))
            call.send_last(request)
            await call.finished()

    async def unary(self, method: Method[Request, Response], request: Request, timeout_s: float) -> Response:
        """Send one request for one message. Raises RpcError, TimeoutError."""
        answers: list[Response] = []
        await self.ask(method, request, answers.append, timeout_s)
        if len(answers) != 1:
            raise RpcError(Code.INTERNAL, f"it answered with {len(answers)} messages instead of one")
        return answers[0]

    def _begin(
        self,
        method: Method[Request, Response],
        on_message: Callable[[Response], None],
        further: tuple[tuple[bytes, bytes], ...],
    ) -> Call[Request, Response]:
        headers = [
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            (b":path", method.path.encode()),
            (b":authority", self._authority),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"stoker-gateway"),
            *further,
        ]
        try:
            stream_id = self._h2.get_next_available_stream_id()
            self._h2.send_headers(stream_id, headers)
        except H2Error as error:
            raise RpcError(Code.UNAVAILABLE, "the connection is lost") from error
        call = Call(self, stream_id, method, on_message)
        self._calls[stream_id] = call
        self._flush()
        return call

    # -------------------------------------------------------------------------- for its calls: it is their Link

    def push(self, call: AnyCall) -> None:
        """Of Link."""
        if call.stream_id in self._calls:
            self._fill(call)
            self._flush()

    def cancel(self, call: AnyCall) -> None:
        """Of Link."""
        if call.stream_id in self._calls:
            call.close(RpcError(Code.CANCELLED, "it was cancelled here"))
            self.reset(call)

    def reset(self, call: AnyCall) -> None:
        """Of Link."""
        if self._calls.pop(call.stream_id, None) is not None:
            try:
                self._h2.reset_stream(call.stream_id, ErrorCodes.CANCEL)
            except H2Error:
                return  # the peer has ended it, or the connection
            self._flush()

    def _fill(self, call: AnyCall) -> None:
        outgoing, stream_id = call.outgoing, call.stream_id
        while outgoing:
            room = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            part = bytes(outgoing[:room])
            del outgoing[:room]
            self._h2.send_data(stream_id, part, end_stream=call.half_closed and not outgoing)

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    # ---------------------------------------------------------------------------------- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there: say what we accept."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        initial = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW}
        self._h2.local_settings = Settings(client=True, initial_values=initial)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer: whatever they say happens before this returns."""
        try:
            events = self._h2.receive_data(data)
        except H2Error:
            self._lose("it broke off, or does not speak HTTP/2")
            return
        for event in events:
            if (handler := self._handlers.get(type(event))) is not None:
                handler(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        self._lose("the connection is lost")
        self._closed.set()

    async def aclose(self) -> None:
        """Give the connection up, and every call on it; returns when the socket is closed."""
        self._lose("it was closed here")
        await self._closed.wait()

    def _lose(self, why: str) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.close(RpcError(Code.UNAVAILABLE, why))
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._h2.close_connection()
            self._flush()
            if transport.get_write_buffer_size():
                transport.abort()  # it does not read: what is left would wait for ever
            else:
                transport.close()

    # ---------------------------------------------------------------------------------------- h2's events

    def _data(self, event: DataReceived) -> None:
        assert event.stream_id is not None
        if event.flow_controlled_length:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if (call := self._calls.get(event.stream_id)) is not None and event.data:
            call.take_data(event.data)

    def _headers(self, event: ResponseReceived | TrailersReceived) -> None:
        assert event.stream_id is not None
        assert event.headers is not None
        if (call := self._calls.get(event.stream_id)) is not None:
            call.take_headers(event.headers)

    def _ended(self, event: StreamEnded) -> None:
        assert event.stream_id is not None
        if (call := self._calls.get(event.stream_id)) is not None:
            call.close(RpcError(Code.INTERNAL, "it ended without a status"))
            self.reset(call)

    def _was_reset(self, event: StreamReset) -> None:
        assert event.stream_id is not None
        if (call := self._calls.pop(event.stream_id, None)) is not None:
            call.close(RpcError(RESETS.get(event.error_code or 0, Code.INTERNAL), "it broke the call off"))

    def _may_send(self, _: WindowUpdated | RemoteSettingsChanged) -> None:
        for call in self._calls.values():
            if call.outgoing:
                self._fill(call)

    def _terminated(self, _: ConnectionTerminated) -> None:
        self._lose("it is going away")


@asynccontextmanager
async def connect(
    address: str, timeout_s: float, tls: ClientTls | None = None, identity: str = ""
) -> AsyncIterator[Channel]:
    """A channel to "unix:PATH" or "host:port", closed in the end.

    tls       for host:port; a socket's path is for its owner alone and needs none
    identity  that the peer's certificate must have; "": any that the authority has signed

    Raises RpcError if nobody answers there, or somebody else.
    """
    try:
        async with asyncio.timeout(timeout_s):
            channel = await _open(address, tls, identity)
    except ssl.SSLError as error:
        raise RpcError(Code.UNAUTHENTICATED, f"no handshake: {error.reason or error}") from error
    except (OSError, TimeoutError) as error:
        raise RpcError(Code.UNAVAILABLE, "it cannot be reached") from error
    try:
        yield channel
    finally:
        await channel.aclose()


async def _open(address: str, tls: ClientTls | None, identity: str) -> Channel:
    loop = asyncio.get_running_loop()
    if address.startswith(UNIX):
        path = address.removeprefix(UNIX)
        return (await loop.create_unix_connection(lambda: Channel("localhost"), path))[1]
    host, _, port = address.rpartition(":")
    context = tls.context() if tls else None
    transport, channel = await loop.create_connection(
        lambda: Channel(address, "https" if tls else "http"),
        host.strip("[]"),
        int(port),
        ssl=context,
        server_hostname="" if context else None,  # peers have no names to choose a certificate by
        ssl_shutdown_timeout=FAREWELL_S if context else None,  # not every peer answers TLS's farewell
    )
    if context is not None:
        try:
            check_identity(transport.get_extra_info("peercert") or {}, identity)
        except RpcError:
            await channel.aclose()
            raise
    return channel

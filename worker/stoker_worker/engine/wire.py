"""Frames of msgpack on a stream socket: four bytes of length, little-endian, then the message."""

import socket
import struct
from collections.abc import Iterator

import msgspec

from stoker_worker.engine.messages import FromEngine, ToEngine

_HEADER = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
to_engine_decoder: msgspec.msgpack.Decoder[ToEngine] = msgspec.msgpack.Decoder(ToEngine)
from_engine_decoder: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)


def pack(message: ToEngine | FromEngine) -> bytes:
    """A message as it travels, header included."""
    body = _encoder.encode(message)
    return _HEADER.pack(len(body)) + body


class FrameSplitter:
    """Cuts a byte stream into message bodies, however the bytes arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in `data`; yield each body that is complete."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield body


class EngineEnd:
    """The engine's end of the socket: commands in without waiting, reports out.

    Raises EOFError from `receive` once the front is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._splitter = FrameSplitter()

    def receive(self, wait_s: float | None) -> list[ToEngine]:
        """All commands that have arrived; wait up to `wait_s` for the first (None: as long as it takes, 0: not at all)."""
        self._socket.settimeout(wait_s)
        try:
            data = self._socket.recv(1 << 20)
        except (BlockingIOError, TimeoutError):
            return []
        if not data:
            raise EOFError
        return [to_engine_decoder.decode(body) for body in self._splitter.feed(data)]

    def send(self, message: FromEngine) -> None:
        """Write one message; blocks only while the front does not read."""
        self._socket.settimeout(None)
        self._socket.sendall(pack(message))

"""Messages in a stream of bytes: gRPC's length prefix.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from struct import Struct

from stoker_gateway.rpc.errors import Code, RpcError

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
PREFIX = Struct(">BI")  # compressed or not, length


def delimited(message: bytes) -> bytes:
    """The message behind its prefix, not compressed."""
    return PREFIX.pack(0, len(message)) + message


class MessageReader:
    """Takes bytes as they come, gives whole messages."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def between(self) -> bool:
        """Whether no message has begun that is not whole yet."""
        return not self._rest

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. Raises RpcError for one that is compressed or too long."""
        if self._rest:
            data = self._rest + data
        messages, start = [], 0
        while len(data) - start >= PREFIX.size:
            compressed, length = PREFIX.unpack_from(data, start)
            if compressed:
                raise RpcError(Code.INTERNAL, "it sent a compressed message without being asked")
            if length > MAX_MESSAGE_BYTES:
                raise RpcError(Code.RESOURCE_EXHAUSTED, f"it sent a message of {length} bytes")
            end = start + PREFIX.size + length
            if end > len(data):
                break
            messages.append(data[start + PREFIX.size : end])
            start = end
        self._rest = data[start:]
        return messages

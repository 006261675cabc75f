"""How a call can end, as gRPC names it."""

from enum import IntEnum


class Code(IntEnum):
    """gRPC's status codes; the values are the wire's.

    https://grpc.io/docs/guides/status-codes/
    """

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call ended otherwise than well. Its text is ours: what a peer says of itself may quote anything."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(f"{why} ({code.name})")
        self.code = code

"""What can go wrong in a gateway, and what a client is told about it.

GatewayFailure
├── SettingsError            a setting is unknown or impossible: the process ends with exit code 2
├── ClientGone               nobody is left to answer
└── ApiError                 an OpenAI error body
    ├── InvalidRequest       400  the request says something impossible; names the field
    │   ├── ContextLengthExceeded
    │   ├── RequestTooSlow   408
    │   ├── BodyTooLarge     413
    │   └── HeadTooLarge     431
    ├── Unauthorized         401
    ├── Forbidden            403
    ├── NotFound             404
    │   └── ModelNotFound
    ├── MethodNotAllowed     405
    ├── Overloaded           429  more work than there is room for: come back soon
    ├── InternalError        500  a defect of ours
    ├── WorkerFailed         502  the worker broke off and nobody else could continue
    ├── NoWorker             503  no worker became ready in time
    ├── Stopping             503  this gateway process is going away
    └── DeadlineExceeded     504  the request's own time was up
"""

from dataclasses import dataclass, field

import msgspec

RETRY_AFTER_S = 5


class GatewayFailure(Exception):
    """Any failure whose text a person should read."""


class SettingsError(GatewayFailure):
    """A setting is unknown or impossible; the text says what to change."""


class ClientGone(GatewayFailure):
    """The client closed the connection."""


class ApiError(GatewayFailure):
    """A failure that a client is told about. The message says what to change and never quotes what was sent."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class InvalidRequest(ApiError):
    """The request says something impossible."""


class ContextLengthExceeded(InvalidRequest):
    """The prompt (or, where the client insists, prompt and output) does not fit the model's context."""


class RequestTooSlow(InvalidRequest):
    """The request was not complete in time."""


class BodyTooLarge(InvalidRequest):
    """The body has more bytes than this gateway reads."""


class HeadTooLarge(InvalidRequest):
    """Request line and headers have more bytes than this gateway reads."""


class Unauthorized(ApiError):
    """No key, or none that is known."""


class Forbidden(ApiError):
    """The key is known and may not do this."""


class NotFound(ApiError):
    """Nothing lives at this path."""


class ModelNotFound(NotFound):
    """No model of this name is served to this account."""


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""


class Overloaded(ApiError):
    """More work than there is room for."""


class InternalError(ApiError):
    """A defect of ours."""


class WorkerFailed(ApiError):
    """The worker broke off and nobody else could continue."""


class NoWorker(ApiError):
    """No worker became ready in time."""


class Stopping(ApiError):
    """This gateway process is going away."""


class DeadlineExceeded(ApiError):
    """The request's own time was up."""


def no_worker(waited_s: float) -> NoWorker:
    """The error of a request that was held for as long as may be."""
    return NoWorker(
        f"No worker for this model became ready within {waited_s:g} s. Try again later.", retry_after_s=RETRY_AFTER_S
    )


@dataclass(frozen=True, slots=True)
class Row:
    """How a class of errors looks on the wire. `retry` None leaves the decision to the client's own rules."""

    status: int
    type: str
    code: str | None = None
    retry: bool | None = None


TABLE: dict[type[ApiError], Row] = {
    InvalidRequest: Row(400, "invalid_request_error", "invalid_value"),
    ContextLengthExceeded: Row(400, "invalid_request_error", "context_length_exceeded"),
    RequestTooSlow: Row(408, "invalid_request_error", "request_timeout"),
    BodyTooLarge: Row(413, "invalid_request_error", "request_too_large"),
    HeadTooLarge: Row(431, "invalid_request_error", "head_too_large"),
    Unauthorized: Row(401, "invalid_request_error", "invalid_api_key"),
    Forbidden: Row(403, "invalid_request_error", "insufficient_permissions"),
    NotFound: Row(404, "invalid_request_error", "not_found"),
    ModelNotFound: Row(404, "invalid_request_error", "model_not_found"),
    MethodNotAllowed: Row(405, "invalid_request_error", "method_not_allowed"),
    Overloaded: Row(429, "overloaded_error", "overloaded", retry=True),
    InternalError: Row(500, "server_error", "internal_error"),
    WorkerFailed: Row(502, "server_error", "worker_failed", retry=True),
    NoWorker: Row(503, "server_error", "no_ready_worker", retry=True),
    Stopping: Row(503, "server_error", "stopping", retry=True),
    DeadlineExceeded: Row(504, "server_error", "deadline_exceeded", retry=False),
}


UNREAD = frozenset({408, 413, 431})  # the rest of such a request is not read: nothing can follow it


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error as HTTP: status, extra headers, body."""

    status: int
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


def error_body(error: ApiError) -> bytes:
    """OpenAI's error object as JSON."""
    row = TABLE[type(error)]
    body = {"message": error.message, "type": row.type, "param": error.param, "code": error.code or row.code}
    return msgspec.json.encode({"error": body})


def answer(error: ApiError) -> ErrorAnswer:
    """The HTTP answer to an error, with the headers that OpenAI's clients decide retries by."""
    row = TABLE[type(error)]
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if row.retry is not None:
        headers.append((b"x-should-retry", b"true" if row.retry else b"false"))
    if row.status in UNREAD:
        headers.append((b"connection", b"close"))
    if row.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return ErrorAnswer(row.status, headers, error_body(error))


def in_stream(error: ApiError) -> bytes:
    """The error as the last event of a stream that has begun; no [DONE] follows it."""
    return b"data: " + error_body(error) + b"\n\n"

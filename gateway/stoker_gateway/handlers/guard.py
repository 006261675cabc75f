"""The edge of a hot route: whatever happens inside becomes an answer, and every answer is counted."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable

from stoker_gateway.errors import ApiError, ClientGone, InternalError, MethodNotAllowed, Stopping, answer, in_stream
from stoker_gateway.exchange import JSON_HEADERS, Exchange
from stoker_gateway.observability.metrics import Metrics
from stoker_gateway.observability.request_ids import echoed, new_id

CLIENT_GONE_STATUS = 499  # nginx's word for it; only the metrics see it

Handler = Callable[[Exchange, str], Awaitable[None]]

log = logging.getLogger(__name__)


class HotRoute:
    """Around a handler for POST. The handler gets the request's own id and answers, or raises."""

    def __init__(self, name: str, id_prefix: str, handler: Handler, metrics: Metrics) -> None:
        self._name = name
        self._id_prefix = id_prefix
        self._handler = handler
        self._metrics = metrics

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request, whatever happens."""
        request_id = new_id(self._id_prefix)
        try:
            if exchange.method != "POST":
                raise MethodNotAllowed(f"{exchange.method} is not possible here. Use POST.")
            await self._handler(exchange, request_id)
        except ClientGone:
            pass
        except ApiError as error:
            fail(exchange, request_id, error)
        except asyncio.CancelledError:
            fail(exchange, request_id, Stopping("This gateway is stopping. Send the request again."))
        except Exception as error:  # noqa: BLE001 - the edge of a request: a defect must not end the process
            self._metrics.defect()
            log.error("%s: %s", self._name, where(error))
            fail(exchange, request_id, InternalError("The gateway failed on this request; it was reported."))
        finally:
            self._metrics.answered(self._name, exchange.status or CLIENT_GONE_STATUS)


def fail(exchange: Exchange, request_id: str, error: ApiError) -> None:
    """Tell the client, as an answer or, where a stream has begun, as its last event."""
    if exchange.status:
        exchange.finish(in_stream(error))
        return
    told = answer(error)
    headers = [*JSON_HEADERS, *told.headers, (b"x-request-id", echoed(exchange.header(b"x-request-id"), request_id))]
    exchange.respond(told.status, headers, told.body)


def where(error: BaseException) -> str:
    """A defect's type and place. Not its text and not its locals: they may hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in reversed(frames)
    )
    return f"{type(error).__name__} at {places}"

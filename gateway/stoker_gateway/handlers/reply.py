"""Sending an answer: at once when everything has ended, or piece by piece as it comes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from stoker_gateway.exchange import EVENT_STREAM_HEADERS, JSON_HEADERS, Exchange
from stoker_gateway.generation.answers import Meta
from stoker_gateway.generation.chunks import ChunkWriter
from stoker_gateway.generation.logprobs import Vocabulary
from stoker_gateway.generation.run import Run
from stoker_gateway.handlers.fronts import Front
from stoker_gateway.handlers.pump import Pace, Pump
from stoker_gateway.observability.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Reply:
    """What an answer needs besides its choices.

    began_s    on the loop's clock
    accounted  awaited before the end of the answer is sent: no client has an answer whose usage could still be lost
    """

    meta: Meta
    headers: list[tuple[bytes, bytes]]
    vocabulary: Vocabulary
    began_s: float
    metrics: Metrics
    accounted: Callable[[], Awaitable[None]]


async def reply_whole(exchange: Exchange, run: Run, reply: Reply, front: Front[Any]) -> None:
    """One JSON body, after every worker's last word. Raises ApiError, ClientGone."""
    while await run.step():
        pass
    body = front.answer(reply.meta, run.choices, run.counts, reply.vocabulary)
    await reply.accounted()
    exchange.respond(200, [*JSON_HEADERS, *reply.headers], body)


async def reply_stream(exchange: Exchange, run: Run, reply: Reply, front: Front[Any]) -> None:
    """Server-sent events. Raises ApiError, ClientGone, also after the first of them."""
    writer = ChunkWriter(front.style, reply.meta, run.choices, reply.vocabulary)
    exchange.start(200, [*EVENT_STREAM_HEADERS, *reply.headers], writer.first())
    rest = await Pump(exchange, run, writer, Pace(reply.metrics, reply.began_s)).run()
    await reply.accounted()
    exchange.finish(rest + writer.last(run.counts))

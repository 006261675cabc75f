"""A stream under way: what a worker's frame brings goes straight into the client's connection, and no task wakes for it."""

import asyncio

from stoker_gateway.exchange import Exchange
from stoker_gateway.generation.chunks import ChunkWriter
from stoker_gateway.generation.run import Run
from stoker_gateway.observability.metrics import Metrics


class Pace:
    """Measures the time to a stream's first piece and between pieces. `began_s` is on the loop's clock."""

    __slots__ = ("_began_s", "_clock", "_last_s", "_metrics")

    def __init__(self, metrics: Metrics, began_s: float) -> None:
        self._metrics = metrics
        self._began_s = began_s
        self._last_s = 0.0
        self._clock = asyncio.get_running_loop().time

    def tick(self) -> None:
        """A piece is there."""
        now_s = self._clock()
        if self._last_s:
            self._metrics.itl.observe(now_s - self._last_s)
        else:
            self._metrics.ttft.observe(now_s - self._began_s)
        self._last_s = now_s


class Pump:
    """Carries a run's pieces to its exchange, called by the connection to the worker when frames have come.

    While the client reads too slowly nothing is taken in: what workers say gathers as token ids, as many as the request
    may have at most, and becomes one piece later.
    """

    __slots__ = ("_error", "_exchange", "_over", "_pace", "_run", "_writer")

    def __init__(self, exchange: Exchange, run: Run, writer: ChunkWriter, pace: Pace) -> None:
        self._exchange = exchange
        self._run = run
        self._writer = writer
        self._pace = pace
        self._over: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._error: Exception | None = None

    async def run(self) -> bytes:
        """Until every worker's last word; returns the last piece, which is not yet written. Raises ApiError, ClientGone."""
        self._run.listen(self._pass_on)
        self._exchange.on_writable(self._pass_on)
        try:
            self._pass_on()
            last = await self._over
        finally:
            self._run.listen(None)
        if self._error is not None:
            raise self._error
        return last

    def _pass_on(self) -> None:
        if self._over.done() or self._exchange.paused:
            return
        try:
            self._take()
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this request and not the caller's connection
            self._error = error
            self._over.set_result(b"")

    def _take(self) -> None:
        more = self._run.take()
        piece = self._writer.news()
        if piece:
            self._pace.tick()
        if not more:
            self._over.set_result(piece)
        elif piece:
            self._exchange.write(piece)

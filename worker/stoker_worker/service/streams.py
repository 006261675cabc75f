"""One gateway's stream: the requests it has here and what it has still to be told."""

import asyncio
from dataclasses import dataclass

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import EndReason, RequestCounters
from stoker_worker.service.admission import Accepted, Refused
from stoker_worker.service.batch import Batch, Ending
from stoker_worker.service.outbox import Outbox

MAX_REFUSALS = 1024  # not delivered yet; accepted requests are bounded by admission


@dataclass(slots=True)
class LiveRequest:
    """An accepted request that has not ended.

    accepted_ns  when, Unix time
    drained      the front has told the engine to end it because the worker drains
    counters     the newest, kept for requests that are traced
    """

    request_id: str
    attempt: int
    traceparent: str
    accepted_ns: int
    drained: bool = False
    counters: RequestCounters | None = None


@dataclass(frozen=True, slots=True)
class EndedLife:
    """A request that has ended just now, as those who count and trace want it."""

    request: LiveRequest
    ending: Ending


class GatewayStream:
    """Owned by the front; the gRPC handler only waits and takes frames."""

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.live: dict[int, LiveRequest] = {}  # by handle
        self.traced: set[int] = set()
        self.closed = False
        self._outbox = Outbox()
        self._ended: set[int] = set()  # and not delivered yet
        self._refusals = 0  # and not delivered yet
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def num_open(self) -> int:
        """Requests whose end has not been delivered."""
        return len(self.live) + len(self._ended)

    @property
    def is_done(self) -> bool:
        """It was closed, and everything has been told."""
        return self.closed and self._outbox.is_empty

    def in_use(self, handle: int) -> bool:
        """The gateway has not yet heard the last of the request under this handle."""
        return handle in self.live or handle in self._ended

    def accept(self, handle: int, request: LiveRequest, accepted: Accepted, *, final_only: bool) -> None:
        """A request of this stream was queued."""
        self.live[handle] = request
        if request.traceparent:
            self.traced.add(handle)
        self._outbox.accept(handle, accepted.max_tokens, final_only=final_only)
        self._wake.set()

    def refuse(self, handle: int, refused: Refused) -> None:
        """A request of this stream was not taken."""
        self._outbox.refuse(handle, refused)
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS:
            self._room.clear()
        self._wake.set()

    def add(self, batch: Batch) -> list[EndedLife]:
        """Take in what a step brought; returns the requests that ended with it."""
        if self.traced:
            for handle, counters in zip(batch.counted, batch.counters, strict=True):
                if handle in self.traced:
                    self.live[handle].counters = counters
        ended = self._settle(batch) if batch.ended else []
        self._outbox.add(batch)
        if not self._outbox.is_empty:
            self._wake.set()
        return ended

    def end_all(self, reason: EndReason, message: str) -> list[EndedLife]:
        """End every request without the engine, which does not know them any longer."""
        endings = [Ending(handle, reason, message) for handle in self.live]
        return self.add(Batch(ended=endings)) if endings else []

    def close(self) -> None:
        """Let the handler end once everything has been taken."""
        self.closed = True
        self._wake.set()

    def wake(self) -> None:
        """Send a frame even if only the load is to be told."""
        self._wake.set()

    async def wait(self) -> None:
        """Return when a frame is due."""
        await self._wake.wait()

    async def has_room(self) -> None:
        """Return when more may be asked for: a gateway that only talks is not listened to for ever."""
        await self._room.wait()

    def take(self) -> pb.Frame:
        """What is due, without the load. Handles whose end is in it are free again."""
        frame = self._outbox.take()
        self._refusals = 0
        self._room.set()
        self._ended.difference_update([ended.handle for ended in frame.ended])
        if self._outbox.is_empty and not self.closed:
            self._wake.clear()
        return frame

    def _settle(self, batch: Batch) -> list[EndedLife]:
        """Let go of requests that end in `batch`. Those ended by draining get that for a reason."""
        ended, endings = [], []
        for ending in batch.ended:
            request = self.live.pop(ending.handle)
            self.traced.discard(ending.handle)
            self._ended.add(ending.handle)
            by_drain = request.drained and ending.reason == EndReason.ABORTED
            last = Ending(ending.handle, EndReason.DRAINED, "the worker is going away") if by_drain else ending
            endings.append(last)
            ended.append(EndedLife(request, last))
        batch.ended = endings
        return ended

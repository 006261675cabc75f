"""The middle of the front process: gateways' streams on one side, one engine on the other."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import AbortRequest, EndReason, EngineReady, Load, StepReport, ToEngine
from stoker_worker.service.admission import EngineFacts, Refused, admit
from stoker_worker.service.batch import Ending, request_key, split
from stoker_worker.service.metrics import WorkerMetrics
from stoker_worker.service.model import ServedModel
from stoker_worker.service.streams import EndedLife, GatewayStream, LiveRequest
from stoker_worker.service.submit import to_engine
from stoker_worker.service.supervisor import EngineState

# How long the engine may take to answer that requests were ended, when a drain's time is up: a long step.
END_GRACE_S = 5.0
WIRE_STATES = {
    EngineState.STARTING: pb.ENGINE_STATE_STARTING,
    EngineState.READY: pb.ENGINE_STATE_READY,
    EngineState.DOWN: pb.ENGINE_STATE_DOWN,
}
IDLE = Load(running=0, waiting=0, free_blocks=0, total_blocks=0, step_us=0)


class EnginePort(Protocol):
    """What the front needs of the supervisor."""

    state: EngineState
    message: str
    ready: EngineReady | None

    def send(self, message: ToEngine) -> None:
        """Give the engine a message."""
        ...


class Tracer(Protocol):
    """Records spans of requests that carry a traceparent."""

    def on_ended(self, life: EndedLife) -> None:
        """A request has ended."""
        ...


@dataclass(frozen=True, slots=True)
class DrainResult:
    """Of the requests that a drain found: how many finished by themselves, and how many were ended."""

    finished: int
    ended: int


class Front:
    """Admits requests, passes them on, and sends what the engine reports to the streams it concerns.

    Implements the supervisor's Listener. Everything runs in the event loop's thread.
    """

    def __init__(
        self, model: ServedModel, engine: EnginePort, max_queue: int, metrics: WorkerMetrics, tracer: Tracer | None
    ) -> None:
        self.model = model
        self.engine = engine
        self.draining = False
        self.changed = asyncio.Event()  # engine state, draining or the number of streams; cleared by who looks
        self._model_name = str(model.ref)
        self._max_queue = max_queue
        self._metrics = metrics
        self._tracer = tracer
        self._load = IDLE
        self._streams: dict[int, GatewayStream] = {}
        self._stream_ids = count(1)
        self._orphans: dict[
            int, LiveRequest
        ] = {}  # by key: aborted requests of lost streams, until the engine ends them
        self._settled = asyncio.Event()  # no request is live

    # --------------------------------------------------------------------------------------------- streams

    @property
    def num_streams(self) -> int:
        """Gateways' streams that are attached."""
        return len(self._streams)

    def attach(self) -> GatewayStream:
        """A gateway has said hello."""
        stream = GatewayStream(next(self._stream_ids))
        self._streams[stream.id] = stream
        self.changed.set()
        return stream

    def detach(self, stream: GatewayStream) -> None:
        """A stream is lost: its requests are aborted."""
        if self._streams.pop(stream.id, None) is None:
            return
        for handle, request in stream.live.items():
            key = request_key(stream.id, handle)
            self._orphans[key] = request
            self.engine.send(AbortRequest(key))
        self.changed.set()

    def wake(self) -> None:
        """Tell every gateway the load."""
        for stream in self._streams.values():
            stream.wake()

    # -------------------------------------------------------------------------------------------- requests

    def submit(self, stream: GatewayStream, submit: pb.Submit) -> None:
        """Admit or refuse a request; the stream is told at once."""
        verdict = admit(submit, self.facts(), handle_in_use=stream.in_use(submit.handle))
        if isinstance(verdict, Refused):
            self._metrics.on_refused(verdict)
            stream.refuse(submit.handle, verdict)
            return
        request = LiveRequest(
            request_id=submit.request_id,
            attempt=submit.attempt,
            traceparent=submit.traceparent if self._tracer else "",
            accepted_ns=time.time_ns(),
        )
        stream.accept(submit.handle, request, verdict, final_only=submit.final_only)
        self._settled.clear()
        self.engine.send(to_engine(submit, request_key(stream.id, submit.handle), verdict.max_tokens))

    def abort(self, stream: GatewayStream, handle: int) -> None:
        """End a request; unknown handles and those that have just ended are ignored."""
        if handle in stream.live:
            self.engine.send(AbortRequest(request_key(stream.id, handle)))

    def facts(self) -> EngineFacts:
        """What admission decides by."""
        ready = self.engine.ready
        return EngineFacts(
            model=self._model_name,
            ready=self.engine.state is EngineState.READY,
            draining=self.draining,
            context_length=ready.context_length if ready else 0,
            vocab_size=ready.vocab_size if ready else 0,
            open_requests=self.num_open,
            max_queue=self._max_queue,
            not_ready_why=self.engine.message,
        )

    @property
    def num_open(self) -> int:
        """Accepted requests whose end has not been delivered, or that the engine still has."""
        return len(self._orphans) + sum(stream.num_open for stream in self._streams.values())

    # ---------------------------------------------------------------------------------------------- engine

    def on_report(self, report: StepReport) -> None:
        """Pass on what a step brought."""
        self._load = report.load
        self._metrics.on_step(report)
        for stream_id, batch in split(report).items():
            stream = self._streams.get(stream_id)
            self._count_ended(stream.add(batch) if stream else self._end_orphans(stream_id, batch.ended))
        if report.ended:
            self._check_settled()

    def on_lost(self, message: str) -> None:
        """End every request: the engine that had them is gone."""
        self._orphans.clear()
        reason = EndReason.DRAINED if self.draining else EndReason.ENGINE_DIED
        for stream in self._streams.values():
            self._count_ended(stream.end_all(reason, message))
        self._check_settled()

    def on_change(self) -> None:
        """The engine's state has changed."""
        if self.engine.state is not EngineState.READY:
            self._load = IDLE
        self.changed.set()

    @property
    def last_load(self) -> Load:
        """The engine's load after its last step."""
        return self._load

    def load(self) -> pb.EngineLoad:
        """The report that rides on every frame."""
        load = self._load
        return pb.EngineLoad(
            model=self._model_name,
            state=self.wire_state,
            running=load.running,
            waiting=load.waiting,
            free_blocks=load.free_blocks,
            total_blocks=load.total_blocks,
            step_us=load.step_us,
        )

    @property
    def wire_state(self) -> pb.EngineState.ValueType:
        """The engine's state as others see it."""
        if self.draining and self.engine.state is EngineState.READY:
            return pb.ENGINE_STATE_DRAINING
        return WIRE_STATES[self.engine.state]

    # ----------------------------------------------------------------------------------------------- drain

    async def drain(self, deadline_s: float) -> DrainResult:
        """Refuse what is new, let requests finish until the deadline, have the engine end the rest. There is no way back.

        An engine in a long step may end them later than this returns.
        """
        self.draining = True
        self.changed.set()
        found = self._live()
        self._check_settled()
        try:
            async with asyncio.timeout(deadline_s):
                await self._settled.wait()
        except TimeoutError:
            await self._end_drained()
        ended = sum(request.drained for request in found)
        return DrainResult(finished=len(found) - ended, ended=ended)

    def close(self) -> None:
        """Let every stream end once it has been told everything."""
        for stream in self._streams.values():
            stream.close()

    async def _end_drained(self) -> None:
        for stream in self._streams.values():
            for handle, request in stream.live.items():
                request.drained = True
                self.engine.send(AbortRequest(request_key(stream.id, handle)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_GRACE_S):
                await self._settled.wait()

    def _live(self) -> list[LiveRequest]:
        return [request for stream in self._streams.values() for request in stream.live.values()]

    def _end_orphans(self, stream_id: int, endings: list[Ending]) -> list[EndedLife]:
        return [EndedLife(self._orphans.pop(request_key(stream_id, ending.handle)), ending) for ending in endings]

    def _count_ended(self, lives: list[EndedLife]) -> None:
        for life in lives:
            self._metrics.on_ended(life.ending.reason)
            if self._tracer and life.request.traceparent:
                self._tracer.on_ended(life)

    def _check_settled(self) -> None:
        if not self._orphans and not any(stream.live for stream in self._streams.values()):
            self._settled.set()

"""One worker: its long-lived stream, what it serves, and how loaded it is."""

import asyncio
import logging
import random
from collections.abc import Callable
from enum import Enum
from itertools import count

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.names import PROTOCOL_VERSION
from stoker_gateway.routing.choose import NOT_READY, Load
from stoker_gateway.routing.table import Endpoint
from stoker_gateway.rpc.call import Call
from stoker_gateway.rpc.cancellation import heed_cancellation
from stoker_gateway.rpc.channel import Channel, connect
from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.rpc.tls import ClientTls
from stoker_gateway.workers.dispatch import Told, dispatch
from stoker_gateway.workers.inbox import End, EndReason, Inbox
from stoker_gateway.workers.info import endpoints_of
from stoker_gateway.workers.methods import GET_INFO, SERVE
from stoker_gateway.workers.signal import Signal
from stoker_gateway.workers.submit import Submission, to_wire
from stoker_gateway.workers.target import Target
from stoker_gateway.workers.texts import TextStore

FIRST_BACK_OFF_S = 0.1
LAST_BACK_OFF_S = 5.0
ANSWER_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


class State(Enum):
    """Of the connection; the value is the metric's label."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    BACKING_OFF = "backing_off"


MOVES = {
    State.CONNECTING: {State.CONNECTED, State.BACKING_OFF},
    State.CONNECTED: {State.BACKING_OFF},
    State.BACKING_OFF: {State.CONNECTING},
}


class WorkerLost(Exception):
    """The stream is of no use any longer; says why."""


def back_off_s(failures: int, jitter: float) -> float:
    """How long to wait after the given number of failures in a row (from 1); `jitter` in [0, 1)."""
    return min(LAST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** (failures - 1)) * (0.5 + jitter / 2)


class WorkerConnection:
    """Owns the channel to one address. `run` keeps it up; requests go through `submit` and `abort`."""

    def __init__(
        self,
        target: Target,
        tls: ClientTls | None,
        instance: str,
        texts: TextStore,
        on_change: Callable[[], None],
        heartbeat_timeout_s: float,
    ) -> None:
        self.address = target.address
        self.state = State.CONNECTING
        self.endpoints: tuple[Endpoint, ...] = ()  # the last known, also while the worker is away
        self._target = target
        self._tls = tls
        self._instance = instance
        self._texts = texts
        self._on_change = on_change
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._loads: dict[str, pb.EngineLoad] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._handles = count(1)
        self._loop = asyncio.get_running_loop()
        self._call: Call[pb.Command, pb.Frame] | None = None
        self._command = pb.Command()  # what has gathered in this turn of the loop
        self._sends_soon = False
        self._told: Told = {}  # who has news since the last turn of the loop
        self._to_learn = Signal()
        self._heard = 0.0

    @property
    def in_flight(self) -> int:
        """Requests of this process that the worker has."""
        return len(self._inboxes)

    def load(self, endpoint: Endpoint) -> Load:
        """What is known now of one of this worker's endpoints."""
        load = self._loads.get(str(endpoint.model))
        if load is None or self.state is not State.CONNECTED:
            return NOT_READY
        reported = load.running + load.waiting
        return Load(load.state == pb.ENGINE_STATE_READY, max(reported, len(self._inboxes)))

    def engines(self) -> list[dict[str, str | int]]:
        """The last load report of each engine, for whoever operates the process; none while the worker is away.

        An engine that is ready is "learning" until its model's text side is here: before that no request can go to it.
        """
        return [self._describe(load) for load in self._loads.values()]

    def _describe(self, load: pb.EngineLoad) -> dict[str, str | int]:
        state = pb.EngineState.Name(load.state).removeprefix("ENGINE_STATE_").lower()
        return {
            "worker": self.address,
            "model": load.model,
            "state": "learning" if state == "ready" and load.model not in self._names() else state,
            "running": load.running,
            "waiting": load.waiting,
            "free_blocks": load.free_blocks,
            "total_blocks": load.total_blocks,
        }

    def submit(self, submission: Submission, inbox: Inbox) -> int:
        """Send a request; what becomes of it arrives in `inbox`. Returns the handle for `abort`."""
        handle = next(self._handles)
        self._inboxes[handle] = inbox
        self._command.submits.append(to_wire(handle, submission))
        self._send_soon()
        return handle

    def abort(self, handle: int) -> None:
        """End a request. Its last word still arrives in the inbox."""
        if handle in self._inboxes:
            self._command.aborts.add(handle=handle)
            self._send_soon()

    def forget(self, handle: int) -> None:
        """Nobody reads this inbox any longer."""
        self._inboxes.pop(handle, None)

    def withdraw(self, model: str) -> None:
        """The worker refused requests for this model: take it for not ready until it reports again."""
        self._loads.pop(model, None)
        self._to_learn.set()

    async def run(self) -> None:
        """Connect, and connect again whenever the stream is lost, until cancelled."""
        try:
            await self._keep_connected()
        finally:
            self._break_off()

    async def _keep_connected(self) -> None:
        failures = 0
        while True:
            try:
                await self._session()
            except* (RpcError, WorkerLost, TimeoutError) as group:
                failures = 1 if self.state is State.CONNECTED else failures + 1
                reason = _reason(group.exceptions[0])
            heed_cancellation()
            pause_s = back_off_s(failures, random.random())
            self._break_off()
            self._move(State.BACKING_OFF)
            log.warning("worker %s: %s; trying again in %.1f s", self.address, reason, pause_s)
            await asyncio.sleep(pause_s)
            self._move(State.CONNECTING)

    def _move(self, state: State) -> None:
        assert state in MOVES[self.state], f"{self.state} → {state}"
        self.state = state
        self._on_change()

    def _break_off(self) -> None:
        """Tell every request that nothing more comes."""
        inboxes, self._inboxes = self._inboxes, {}
        self._loads.clear()
        self._call = None
        self._command = pb.Command()
        for inbox in inboxes.values():
            inbox.end = End(EndReason.BROKEN_OFF, retryable=True)
            inbox.signal.set()

    async def _session(self) -> None:
        """One life of the stream. Always ends by an exception, or a group of them."""
        opened = connect(self.address, ANSWER_TIMEOUT_S, self._tls, self._target.identity)
        async with opened as channel, asyncio.TaskGroup() as tasks:
            await self._learn(channel)
            self._heard = self._loop.time()
            self._call = channel.call(SERVE, self._receive)
            self._call.send(pb.Command(hello=pb.Hello(protocol=PROTOCOL_VERSION, instance=self._instance)))
            tasks.create_task(self._watch_heartbeat())
            tasks.create_task(self._keep_learning(channel))
            await self._call.finished()
            raise WorkerLost("it ended the stream")

    def _names(self) -> list[str]:
        return [str(endpoint.model) for endpoint in self.endpoints]

    async def _learn(self, channel: Channel) -> None:
        """Ask what the worker serves, and fetch the text sides that are new."""
        info = await channel.unary(GET_INFO, pb.GetInfoRequest(), ANSWER_TIMEOUT_S)
        if info.protocol != PROTOCOL_VERSION:
            raise WorkerLost(f"it speaks protocol {info.protocol}, this gateway {PROTOCOL_VERSION}")
        told = [self._target.endpoint(endpoint) for endpoint in endpoints_of(self.address, info)]
        if told and not any(told):
            log.warning("worker %s: none of its models is %s; not used", self.address, self._target.model_id)
        self.endpoints = tuple([e for e in told if e and await self._texts.ensure(e.tokenizer_digest, channel)])
        self._on_change()

    async def _keep_learning(self, channel: Channel) -> None:
        while True:
            await self._to_learn.wait()
            await self._learn(channel)

    def _send_soon(self) -> None:
        """At the end of this turn of the loop: what gathers in one turn is one message."""
        if not self._sends_soon:
            self._sends_soon = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._sends_soon = False
        command, self._command = self._command, pb.Command()
        if self._call is not None:
            self._call.send(command)

    def _receive(self, frame: pb.Frame) -> None:
        """Called with each frame as it comes; the first is the worker's Hello."""
        self._heard = self._loop.time()
        if self.state is not State.CONNECTED:
            self._greet(frame)
        if not self._told:
            self._loop.call_soon(self._tell)
        dispatch(frame, self._inboxes, self._told)
        for load in frame.loads:
            self._report(load)

    def _tell(self) -> None:
        """Once for all frames that came together: a process that falls behind writes fewer, larger pieces."""
        told, self._told = self._told, {}
        for inbox in told:
            inbox.signal.set()

    def _greet(self, frame: pb.Frame) -> None:
        if not frame.HasField("hello"):
            raise RpcError(Code.FAILED_PRECONDITION, "it did not say hello")
        self._move(State.CONNECTED)
        log.info("worker %s: connected, serves %s", self.address, ", ".join(self._names()) or "nothing yet")

    def _report(self, load: pb.EngineLoad) -> None:
        """Take up a load report; only a changed state is news to anybody who waits."""
        before = self._loads.get(load.model)
        self._loads[load.model] = load
        if before is None or before.state != load.state:
            if load.state == pb.ENGINE_STATE_READY and load.model not in self._names():
                self._to_learn.set()
            self._on_change()

    async def _watch_heartbeat(self) -> None:
        while True:
            left_s = self._heard + self._heartbeat_timeout_s - self._loop.time()
            if left_s <= 0:
                break
            await asyncio.sleep(left_s)
        raise WorkerLost(f"it was silent for {self._heartbeat_timeout_s:g} s")


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    return str(error) or type(error).__name__

"""A worker's front in this process, with an engine process that has no model, and a gateway that talks to it."""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerAdminStub, WorkerStub
from stoker_core.names import PROTOCOL_VERSION, ModelRef
from stoker_core.text import TextBundle, bundle_digest
from stoker_worker.service.listeners import Listeners
from stoker_worker.service.model import ServedModel
from stoker_worker.service.server import serve
from stoker_worker.service.supervisor import BackOff, Supervisor
from stoker_worker.settings import Address, WorkerSettings

FAKE_ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))
MODEL_ID = "accounts/local/models/fake"
MODEL = f"{MODEL_ID}@0123456789ab"
BUNDLE = TextBundle(tokenizer={"model": "x" * 3_000_000}).to_bytes()
SAMPLING = pb.Sampling(temperature=1.0, top_p=1.0, repetition_penalty=1.0, seed=7)


def make_submit(handle: int = 1, request_id: str = "", **fields: Any) -> pb.Submit:
    """A request that is fine; `fields` change it."""
    values = {
        "handle": handle,
        "request_id": request_id,
        "attempt": 1,
        "account": "local",
        "model": MODEL,
        "task": pb.TASK_GENERATE,
        "token_ids": [handle % 1000, 1, 2],
        "sampling": SAMPLING,
        "n": 1,
        "max_tokens": 5,
    }
    return pb.Submit(**{**values, **fields})


class Gateway:
    """A stream to a worker, and all that was said on it."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.hello: pb.Hello | None = None
        self.frames: list[pb.Frame] = []
        self.log: list[tuple[str, int]] = []
        self.accepted: dict[int, int] = {}
        self.refused: dict[int, pb.Refused] = {}
        self.ended: dict[int, pb.Ended] = {}
        self.tokens: dict[tuple[int, int], list[int]] = {}
        self.finish: dict[tuple[int, int], int] = {}
        self.counters: dict[int, dict[str, int]] = {}
        self.logprobs: dict[tuple[int, int], list[float]] = {}
        self.prompt_logprobs: dict[int, list[float]] = {}

    @property
    def load(self) -> pb.EngineLoad:
        return self.frames[-1].loads[0]

    async def submit(self, handle: int = 1, request_id: str = "", **fields: Any) -> None:
        await self.call.write(pb.Command(submits=[make_submit(handle, request_id, **fields)]))

    async def abort(self, *handles: int) -> None:
        await self.call.write(pb.Command(aborts=[pb.Abort(handle=handle) for handle in handles]))

    async def read(self) -> pb.Frame:
        frame = await self.call.read()
        assert frame is not grpc.aio.EOF, "the worker ended the stream"
        self.take(frame)
        return frame

    async def until(self, condition: Callable[["Gateway"], Any]) -> "Gateway":
        async with asyncio.timeout(30):
            while not condition(self):
                await self.read()
        return self

    async def until_ended(self, *handles: int) -> "Gateway":
        return await self.until(lambda gateway: gateway.ended.keys() >= set(handles))

    def take(self, frame: pb.Frame) -> None:
        self.frames.append(frame)
        if frame.HasField("hello"):
            self.hello = frame.hello
        for accepted in frame.accepted:
            self.accepted[accepted.handle] = accepted.max_tokens
            self.log.append(("accepted", accepted.handle))
        for refused in frame.refused:
            self.refused[refused.handle] = refused
            self.log.append(("refused", refused.handle))
        self._take_tokens(frame.tokens)
        for i, handle in enumerate(frame.counters.handles):
            self.counters[handle] = {
                field.name: getattr(frame.counters, field.name)[i]
                for field in pb.Counters.DESCRIPTOR.fields
                if len(getattr(frame.counters, field.name)) > i
            }
        for ended in frame.ended:
            assert ended.handle not in self.ended, "two last words"
            self.ended[ended.handle] = ended
            self.log.append(("ended", ended.handle))

    def _take_tokens(self, tokens: pb.Tokens) -> None:
        entries = list(zip(tokens.handles, tokens.choices, strict=True))
        assert len(set(entries)) == len(entries), "two entries for one choice in a frame"
        assert len(tokens.counts) == len(tokens.finish) == len(entries)
        assert sum(tokens.counts) == len(tokens.token_ids)
        start = 0
        for entry, count, finish in zip(entries, tokens.counts, tokens.finish, strict=True):
            assert entry[0] not in self.ended, "output after the last word"
            self.tokens.setdefault(entry, []).extend(tokens.token_ids[start : start + count])
            start += count
            if finish:
                self.finish[entry] = finish
            self.log.append(("tokens", entry[0]))
        for item in tokens.logprobs:
            assert len(item.logprobs) == tokens.counts[item.entry]
            self.logprobs.setdefault(entries[item.entry], []).extend(item.logprobs)
        for item in tokens.prompt_logprobs:
            self.prompt_logprobs[item.handle] = list(item.logprobs)


class Worker:
    """A running front. `task` ends when it has stopped."""

    def __init__(self, supervisor: Supervisor, channel: grpc.aio.Channel, stop: asyncio.Event) -> None:
        self.supervisor = supervisor
        self.channel = channel
        self.stop = stop
        self.task: asyncio.Task[None]
        self.stub = WorkerStub(channel)
        self.admin = WorkerAdminStub(channel)

    async def connect(self, *, ready: bool = True) -> Gateway:
        gateway = Gateway(self.stub.Serve(wait_for_ready=True))
        async with asyncio.timeout(30):
            await gateway.call.write(pb.Command(hello=pb.Hello(protocol=PROTOCOL_VERSION, instance="test")))
            await gateway.read()
        if ready:
            await gateway.until(lambda gateway: gateway.load.state == pb.ENGINE_STATE_READY)
        return gateway

    async def info(self) -> pb.EngineInfo:
        return (await self.stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=30)).engines[0]


@pytest.fixture
def submit() -> Callable[..., pb.Submit]:
    return make_submit


@pytest.fixture
def bundle() -> bytes:
    return BUNDLE


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """Short enough for a socket's path, wherever pytest keeps its own."""
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        yield Path(folder)


Run = Callable[..., contextlib.AbstractAsyncContextManager[Worker]]


@pytest.fixture
def run_worker(socket_folder: Path) -> Run:
    @contextlib.asynccontextmanager
    async def run(*engine_options: str, **fields: Any) -> AsyncIterator[Worker]:
        values = {
            "listen": Address.parse(f"unix:{socket_folder}/worker.sock"),
            "model_id": MODEL_ID,
            "aliases": ("fake",),
            "instance": "one",
            "drain_timeout_s": 0.0,
        }
        settings = WorkerSettings(**{**values, **fields})
        supervisor = Supervisor((*FAKE_ENGINE, *engine_options), BackOff(first_s=0.01, most_s=0.05))
        model = ServedModel(ModelRef.parse(MODEL), settings.aliases, BUNDLE, bundle_digest(BUNDLE), 1_700_000_000)
        stop = asyncio.Event()
        listeners = Listeners(settings)
        async with grpc.aio.insecure_channel(str(settings.listen)) as channel:
            worker = Worker(supervisor, channel, stop)
            worker.task = asyncio.create_task(serve(settings, listeners, supervisor, lambda: model, stop))
            try:
                yield worker
            finally:
                stop.set()
                await worker.task

    return run


@pytest.fixture
async def worker(run_worker: Run) -> AsyncIterator[Worker]:
    async with run_worker() as worker:
        yield worker


@pytest.fixture
def free_port() -> int:
    """A port of loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The service `Worker`: the gateways' side."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerServicer
from stoker_core.names import MAX_TOP_LOGPROBS, PROTOCOL_VERSION
from stoker_core.version import VERSION
from stoker_worker.service.front import Front
from stoker_worker.service.identity import Guard, Role
from stoker_worker.service.streams import GatewayStream
from stoker_worker.settings import WorkerSettings

HELLO_TIMEOUT_S = 10.0
CHUNK_BYTES = 1 << 20
FEATURES: tuple[str, ...] = ()  # no media, adapters, grammar or speculation yet

Context = grpc.aio.ServicerContext[Any, Any]


class WorkerService(WorkerServicer):
    """Thin: decisions are the front's."""

    def __init__(self, front: Front, settings: WorkerSettings, guard: Guard) -> None:
        self._front = front
        self._settings = settings
        self._guard = guard

    # The generated base class knows handlers that yield frames; this one writes them, as gRPC allows as well.
    async def Serve(self, request_iterator: AsyncIterator[pb.Command], context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """One gateway process, as long as it is there."""
        await let_in(self._guard, context, Role.GATEWAY)
        problem = await _problem_with_hello(request_iterator)
        if problem:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, problem)
        stream = self._front.attach()
        hello = pb.Hello(protocol=PROTOCOL_VERSION, instance=self._settings.instance, features=FEATURES)
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(request_iterator, stream))
                await context.write(pb.Frame(hello=hello, loads=[self._front.load()]))
                await self._write(context, stream)
                reader.cancel()
        finally:
            self._front.detach(stream)

    async def _read(self, commands: AsyncIterator[pb.Command], stream: GatewayStream) -> None:
        """Obey the gateway until it says goodbye."""
        async for command in commands:
            for submit in command.submits:
                self._front.submit(stream, submit)
            for abort in command.aborts:
                self._front.abort(stream, abort.handle)
            await stream.has_room()
        self._front.detach(stream)
        stream.close()

    async def _write(self, context: Context, stream: GatewayStream) -> None:
        """Send frames as the gateway takes them: while it does not, the stream merges what follows."""
        while not stream.is_done:
            await stream.wait()
            frame = stream.take()
            frame.loads.append(self._front.load())
            await context.write(frame)

    async def GetInfo(self, request: pb.GetInfoRequest, context: Context) -> pb.WorkerInfo:  # noqa: N802
        """What this worker is and serves."""
        await let_in(self._guard, context, Role.GATEWAY)
        settings = self._settings
        return pb.WorkerInfo(
            protocol=PROTOCOL_VERSION,
            instance=settings.instance,
            version=VERSION,
            deployment_uid=settings.deployment_uid,
            region=settings.region,
            pool=settings.pool,
            tier=settings.tier,
            engines=[self._engine_info()],
            features=FEATURES,
        )

    def _engine_info(self) -> pb.EngineInfo:
        """Sizes are 0 until the engine was ready once: they depend on the machine's memory, too."""
        model, engine = self._front.model, self._front.engine
        info = pb.EngineInfo(
            model=str(model.ref),
            aliases=model.aliases,
            state=self._front.wire_state,
            tasks=[pb.TASK_GENERATE],
            tokenizer_digest=model.digest,
            max_logprobs=MAX_TOP_LOGPROBS,
            state_message=engine.message,
            created_unix_s=model.created_unix_s,
        )
        if engine.ready:
            info.context_length = engine.ready.context_length
            info.vocab_size = engine.ready.vocab_size
            info.precision = engine.ready.precision
            info.block_size = engine.ready.block_size
        return info

    async def GetTokenizer(  # noqa: N802
        self, request: pb.GetTokenizerRequest, context: Context
    ) -> AsyncIterator[pb.TokenizerChunk]:
        """The text side of a model, by its digest."""
        await let_in(self._guard, context, Role.GATEWAY)
        model = self._front.model
        if request.digest != model.digest:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no engine here has this digest; GetInfo names them")
        for start in range(0, len(model.bundle), CHUNK_BYTES):
            yield pb.TokenizerChunk(data=model.bundle[start : start + CHUNK_BYTES])

    async def PutMedia(self, request_iterator: AsyncIterator[pb.MediaChunk], context: Context) -> pb.PutMediaResponse:  # noqa: N802
        """No engine here takes media; the worker's features say so."""
        await let_in(self._guard, context, Role.GATEWAY)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this worker takes no media; its features do not name them")


async def let_in(guard: Guard, context: Context, role: Role) -> None:
    """End the call unless the peer has the role."""
    refusal = guard.refusal(context, role)
    if refusal:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal)


async def _problem_with_hello(commands: AsyncIterator[pb.Command]) -> str | None:
    """Read the gateway's hello; says what is wrong with it."""
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            first = await anext(commands, None)
    except TimeoutError:
        return f"no hello within {HELLO_TIMEOUT_S:g} s"
    if first is None or not first.HasField("hello"):
        return "the first message must be a hello"
    if first.hello.protocol != PROTOCOL_VERSION:
        return f"this worker speaks protocol {PROTOCOL_VERSION}, the gateway {first.hello.protocol}"
    return None

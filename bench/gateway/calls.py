"""The calls that are measured: through the gateway over HTTP, and the same straight to the worker over gRPC."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import msgspec
from bench.gateway.fake_worker import MODEL

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerStub
from stoker_cli.bench.prompts import PromptKind, PromptMaker
from stoker_cli.errors import ServerFailure
from stoker_cli.http import Connection, Target, encode
from stoker_core.names import DEFAULT_MODEL_ID, PROTOCOL_VERSION

PROMPT_TOKENS = 128


class Call:
    """What is asked, in both forms. `index` makes each one differ, `seed` all of them from another Call's: caches help nobody."""

    def __init__(self, target: Target, output_tokens: int, *, stream: bool, seed: int) -> None:
        self.output_tokens = output_tokens
        self.stream = stream
        self.target = target
        self._texts = PromptMaker(PromptKind.CHAT, PROMPT_TOKENS, seed)
        self._ids = PromptMaker(PromptKind.TOKENS, PROMPT_TOKENS, seed)

    def http(self, index: int) -> bytes:
        """As a chat request to the gateway."""
        body = {
            "model": DEFAULT_MODEL_ID,
            "messages": [{"role": "user", "content": self._texts.text(index)}],
            "max_tokens": self.output_tokens,
            "stream": self.stream,
        }
        return encode(self.target, "POST", "/chat/completions", msgspec.json.encode(body))

    def wire(self, index: int) -> pb.Command:
        """As a submission to the worker."""
        submit = pb.Submit(
            handle=index + 1, request_id=str(index), attempt=1, model=MODEL, task=pb.TASK_GENERATE,
            token_ids=self._ids.token_ids(index), n=1, max_tokens=self.output_tokens, final_only=not self.stream,
        )  # fmt: skip
        return pb.Command(submits=[submit])


async def ask(connection: Connection, call: Call, index: int) -> float:
    """Seconds until the first bytes of the answer's body. Raises ServerFailure for anything but a 200."""
    first: list[float] = []
    request = call.http(index)
    began = time.perf_counter()
    response = await connection.request(request, lambda _, now: first.append(now) if not first else None)
    if response.status != 200:
        raise ServerFailure(f"the gateway answered HTTP {response.status}")
    return first[0] - began


class Direct:
    """A stream to the worker, like the gateway's own."""

    def __init__(self, stream: "grpc.aio.StreamStreamCall[pb.Command, pb.Frame]") -> None:
        self._stream = stream

    async def ask(self, call: Call, index: int) -> float:
        """Seconds until the first tokens of one request; reads it to its end."""
        first = 0.0
        request = call.wire(index)
        began = time.perf_counter()
        await self._stream.write(request)
        while True:
            frame = await self._stream.read()
            if not isinstance(frame, pb.Frame):
                raise ServerFailure("the worker ended the stream")
            if not first and frame.tokens.handles:
                first = time.perf_counter()
            if frame.ended:
                return first - began


@asynccontextmanager
async def direct(address: str) -> AsyncIterator[Direct]:
    """Connect to the worker as a gateway would."""
    async with grpc.aio.insecure_channel(address) as channel:
        stream = WorkerStub(channel).Serve()  # type: ignore[call-arg]
        await stream.write(pb.Command(hello=pb.Hello(protocol=PROTOCOL_VERSION, instance="bench")))
        await stream.read()
        yield Direct(stream)


async def all_at_once(call: Call, concurrency: int, requests: int) -> None:
    """Send `requests` with `concurrency` in flight. Raises ServerFailure."""
    numbers = iter(range(requests))

    async def client() -> None:
        connection = await Connection.open(call.target)
        for index in numbers:
            await ask(connection, call, index)
        connection.close()

    await asyncio.gather(*(client() for _ in range(concurrency)))

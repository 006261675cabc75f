"""A worker that speaks the real wire and invents its tokens: one frame per step for all requests of a stream."""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc
from tokenizers import Tokenizer

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerServicer, add_WorkerServicer_to_server
from stoker_cli.bench.prompts import WORDS
from stoker_core.names import DEFAULT_MODEL_ALIASES, DEFAULT_MODEL_ID, PROTOCOL_VERSION
from stoker_core.text import TextBundle, bundle_digest

MODEL = f"{DEFAULT_MODEL_ID}@bench"
CHUNK_BYTES = 1 << 20


class Request:
    """A request under way: how many of its tokens are out."""

    __slots__ = ("done", "final_only", "limit", "prompt")

    def __init__(self, submit: pb.Submit) -> None:
        self.done = 0
        self.limit = submit.max_tokens
        self.prompt = len(submit.token_ids)
        self.final_only = submit.final_only


class Stream:
    """One gateway's stream. Frames gather what happened since the last one was sent."""

    def __init__(self, token_ids: list[int]) -> None:
        self._token_ids = token_ids
        self._running: dict[int, Request] = {}
        self.frames: asyncio.Queue[pb.Frame] = asyncio.Queue()
        self.busy = asyncio.Event()

    def load(self) -> pb.EngineLoad:
        """The load report that rides on every frame."""
        return pb.EngineLoad(
            model=MODEL, state=pb.ENGINE_STATE_READY, running=len(self._running), free_blocks=1000, total_blocks=1000
        )

    def take(self, command: pb.Command) -> None:
        """Accept what was submitted. The first token comes at once, and a `final_only` request is answered whole."""
        frame = pb.Frame(loads=[self.load()])
        for submit in command.submits:
            request = Request(submit)
            frame.accepted.add(handle=submit.handle, max_tokens=submit.max_tokens)
            self._running[submit.handle] = request
            self._emit(frame, submit.handle, request, request.limit if request.final_only else 1)
        for abort in command.aborts:
            if self._running.pop(abort.handle, None):
                frame.ended.add(handle=abort.handle, reason=pb.END_REASON_ABORTED)
        self.frames.put_nowait(frame)
        if self._running:
            self.busy.set()

    def step(self) -> None:
        """One more token for every request."""
        frame = pb.Frame(loads=[self.load()])
        for handle, request in list(self._running.items()):
            self._emit(frame, handle, request, 1)
        self.frames.put_nowait(frame)
        if not self._running:
            self.busy.clear()

    def _emit(self, frame: pb.Frame, handle: int, request: Request, count: int) -> None:
        tokens, counters = frame.tokens, frame.counters
        tokens.handles.append(handle)
        tokens.choices.append(0)
        tokens.counts.append(count)
        tokens.token_ids.extend(islice(cycle(self._token_ids), request.done, request.done + count))
        request.done += count
        finished = request.done >= request.limit
        tokens.finish.append(pb.FINISH_REASON_LENGTH if finished else pb.FINISH_REASON_UNSPECIFIED)
        counters.handles.append(handle)
        counters.prompt_tokens.append(request.prompt)
        counters.cached_tokens.append(0)
        counters.completion_tokens.append(request.done)
        counters.queue_us.append(0)
        counters.prefill_us.append(0)
        counters.decode_us.append(0)
        if finished:
            del self._running[handle]
            frame.ended.add(handle=handle, reason=pb.END_REASON_FINISHED)


class FakeWorker(WorkerServicer):
    """The service. `step_s` is the time between two frames while requests run."""

    def __init__(self, bundle: TextBundle, token_ids: list[int], step_s: float) -> None:
        self._bundle = bundle.to_bytes()
        self._token_ids = token_ids
        self._step_s = step_s

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.WorkerInfo:  # noqa: N802
        """One engine, ready."""
        engine = pb.EngineInfo(
            model=MODEL,
            aliases=DEFAULT_MODEL_ALIASES,
            state=pb.ENGINE_STATE_READY,
            tasks=[pb.TASK_GENERATE],
            context_length=8192,
            vocab_size=49_152,
            tokenizer_digest=bundle_digest(self._bundle),
            precision="fp32",
            block_size=16,
            max_logprobs=20,
        )
        return pb.WorkerInfo(protocol=PROTOCOL_VERSION, instance="fake", engines=[engine])

    async def GetTokenizer(  # noqa: N802
        self, request: pb.GetTokenizerRequest, context: Any
    ) -> AsyncIterator[pb.TokenizerChunk]:
        """The bundle in pieces."""
        for start in range(0, len(self._bundle), CHUNK_BYTES):
            yield pb.TokenizerChunk(data=self._bundle[start : start + CHUNK_BYTES])

    async def Serve(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.Frame]:  # noqa: N802
        """One gateway's stream."""
        stream = Stream(self._token_ids)
        yield pb.Frame(hello=pb.Hello(protocol=PROTOCOL_VERSION, instance="fake"), loads=[stream.load()])
        tasks = [
            asyncio.create_task(work) for work in (_read(stream, request_iterator), self._tick(stream), _beat(stream))
        ]
        try:
            while True:
                yield await stream.frames.get()
        finally:
            for task in tasks:
                task.cancel()

    async def PutMedia(self, request_iterator: Any, context: Any) -> pb.PutMediaResponse:  # noqa: N802
        """It sees and hears nothing."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake worker takes text only")
        raise AssertionError("abort raises")

    async def _tick(self, stream: Stream) -> None:
        """Step at a steady pace while there is work."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await stream.busy.wait()
            due = max(due + self._step_s, loop.time())
            await asyncio.sleep(due - loop.time())
            stream.step()


async def _read(stream: Stream, commands: AsyncIterator[pb.Command]) -> None:
    async for command in commands:
        if command.submits or command.aborts:
            stream.take(command)


async def _beat(stream: Stream) -> None:
    while True:
        await asyncio.sleep(1.0)
        stream.frames.put_nowait(pb.Frame(loads=[stream.load()]))


def read_bundle(folder: Path) -> TextBundle:
    """The text side of the model in a Hugging Face folder."""
    return TextBundle(
        tokenizer=json.loads((folder / "tokenizer.json").read_text()),
        chat_templates={"default": (folder / "chat_template.jinja").read_text()},
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        stop_token_ids=(2,),
    )


async def serve(listen: str, folder: Path, step_s: float) -> None:
    """Serve until the process is ended."""
    token_ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(" " + " ".join(WORDS)).ids
    server = grpc.aio.server()
    add_WorkerServicer_to_server(FakeWorker(read_bundle(folder), token_ids, step_s), server)
    server.add_insecure_port(listen)
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """The process's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="gRPC address")
    parser.add_argument("--folder", type=Path, required=True, help="Hugging Face folder with tokenizer and template")
    parser.add_argument("--step-ms", type=float, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.listen, arguments.folder, arguments.step_ms / 1e3))


if __name__ == "__main__":
    main()

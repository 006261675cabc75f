"""A worker that speaks the real wire from a script, and a gateway in front of it that serves real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerServicer, add_WorkerServicer_to_server
from stoker_core.text import TextBundle, bundle_digest
from stoker_gateway.app import App
from stoker_gateway.gateway import Gateway
from stoker_gateway.rpc.tls import TlsFiles
from stoker_gateway.server import bind, make_server
from stoker_gateway.settings import Limits, Settings
from stoker_gateway.text.model_text import ModelText
from stoker_gateway.workers.signal import Signal
from stoker_gateway.workers.texts import TextStore

MODEL = "accounts/stoker/models/smollm2-135m-instruct"
ALIAS = "smollm2-135m-instruct"
REVISION = "0123456789ab"
CONTEXT = 512
EOS = 2
PATIENCE_S = 10


@pytest.fixture(scope="session")
def smollm2_bundle(smollm2_reference: Path) -> TextBundle:
    return TextBundle(
        tokenizer=json.loads((smollm2_reference / "tokenizer.json").read_text()),
        chat_templates={"default": (smollm2_reference / "chat_template.jinja").read_text()},
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        stop_token_ids=(EOS,),
    )


@dataclass(frozen=True)
class Bundle:
    """A text side as it travels, and as the gateway uses it."""

    data: bytes
    digest: bytes
    text: ModelText


@pytest.fixture(scope="session")
def smollm2(smollm2_bundle: TextBundle) -> Bundle:
    data = smollm2_bundle.to_bytes()
    return Bundle(data, bundle_digest(data), ModelText.from_bundle(smollm2_bundle))


@dataclass(frozen=True)
class Play:
    """What a fake worker does with a request.

    says           the text of every choice; "<eos>" at its end is the stop token
    per_step       tokens of each choice in one frame
    refuse         answer with this instead
    lose_after     break the whole stream off after so many tokens of each choice
    end_after      end the request so, after so many tokens of each choice
    wait_after     send no more after so many tokens of each choice, until aborted
    """

    says: str = " one two three four five six seven<eos>"
    per_step: int = 1
    refuse: pb.Refused | None = None
    lose_after: int | None = None
    end_after: tuple[int, pb.EndReason] | None = None
    wait_after: int | None = None


class StreamLost(Exception):
    """The script says that the worker breaks off here."""


class FakeWorker(WorkerServicer):
    """Serves one model over the real wire. `play` may be changed at any time and holds for the requests after that."""

    def __init__(self, address: str, bundle: Bundle, credentials: grpc.ServerCredentials | None = None) -> None:
        self.address = address
        self._credentials = credentials
        self.play = Play()
        self.submits: list[pb.Submit] = []
        self.aborts: list[int] = []
        self.news = asyncio.Event()
        self.state = pb.ENGINE_STATE_READY
        self.model = f"{MODEL}@{REVISION}"
        self.heartbeat_s = 0.2
        self.tokenizer_requests = 0
        self.protocol = 1
        self.greeted = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._bundle = bundle
        self._server: grpc.aio.Server | None = None
        self._running: dict[int, asyncio.Task[None]] = {}

    async def start(self) -> None:
        self._server = grpc.aio.server()
        add_WorkerServicer_to_server(self, self._server)
        if self._credentials:
            self._server.add_secure_port(self.address, self._credentials)
        else:
            self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server:
            await self._server.stop(None)
            self._server = None

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that a gateway does has made the condition true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.news.clear()
                await self.news.wait()

    def spoil(self, how: str, bundle: TextBundle) -> None:
        """Have a text side that is no good."""
        if how == "a template that runs away":
            endless = "{% for i in range(99999) %}{% for j in range(99999) %}{{ i * j }}{% endfor %}{% endfor %}"
            data = replace(bundle, chat_templates={"default": endless}).to_bytes()
            self._bundle = Bundle(data, bundle_digest(data), self._bundle.text)
        elif how == "no bundle":
            self._bundle = Bundle(b"{}", bundle_digest(b"{}"), self._bundle.text)
        else:
            self._bundle = Bundle(b"{}", self._bundle.digest, self._bundle.text)

    # ------------------------------------------------------------------------------------------ the wire

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.WorkerInfo:  # noqa: N802
        if not self.model:
            return pb.WorkerInfo(protocol=self.protocol, instance="fake")
        engine = pb.EngineInfo(
            model=self.model,
            aliases=[ALIAS],
            state=self.state,
            tasks=[pb.TASK_GENERATE],
            context_length=CONTEXT,
            vocab_size=self._bundle.text.vocab_size,
            tokenizer_digest=self._bundle.digest,
            max_logprobs=20,
            created_unix_s=1_700_000_000,
        )
        place = {"region": "here", "pool": "cpu", "tier": "OnDemand"}
        return pb.WorkerInfo(protocol=self.protocol, instance="fake", engines=[engine], **place)

    async def GetTokenizer(self, request: pb.GetTokenizerRequest, context: Any) -> AsyncIterator[pb.TokenizerChunk]:  # noqa: N802
        self.tokenizer_requests += 1
        for start in range(0, len(self._bundle.data), 1 << 20):
            yield pb.TokenizerChunk(data=self._bundle.data[start : start + (1 << 20)])

    async def Serve(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.Frame]:  # noqa: N802
        frames: asyncio.Queue[pb.Frame | None] = asyncio.Queue()
        reader = asyncio.create_task(self._read(request_iterator, frames))
        heart = asyncio.create_task(self._beat(frames))
        frames.put_nowait(pb.Frame(hello=pb.Hello(protocol=1, instance="fake"), loads=[self._load()]))
        try:
            while (frame := await frames.get()) is not None:
                yield frame
        finally:
            for task in (reader, heart, *self._running.values()):
                task.cancel()
            self._running.clear()

    def _load(self) -> pb.EngineLoad:
        return pb.EngineLoad(model=self.model, state=self.state, running=len(self._running))

    async def _beat(self, frames: asyncio.Queue[pb.Frame | None]) -> None:
        while True:
            await asyncio.sleep(self.heartbeat_s)
            frames.put_nowait(pb.Frame(loads=[self._load()]))

    async def _read(self, commands: AsyncIterator[pb.Command], frames: asyncio.Queue[pb.Frame | None]) -> None:
        async for command in commands:
            self.greeted = True
            for submit in command.submits:
                self.submits.append(submit)
                self._running[submit.handle] = asyncio.create_task(self._perform(submit, frames))
            for abort in command.aborts:
                self.aborts.append(abort.handle)
                if (task := self._running.pop(abort.handle, None)) is not None:
                    task.cancel()
                    ended = pb.Ended(handle=abort.handle, reason=pb.END_REASON_ABORTED)
                    frames.put_nowait(pb.Frame(ended=[ended]))
            self.news.set()

    # ----------------------------------------------------------------------------------------- the script

    async def _perform(self, submit: pb.Submit, frames: asyncio.Queue[pb.Frame | None]) -> None:
        play, handle = self.play, submit.handle
        if play.refuse is not None:
            self._running.pop(handle)
            frames.put_nowait(pb.Frame(refused=[replace_handle(play.refuse, handle)], loads=[self._load()]))
            return
        frames.put_nowait(pb.Frame(accepted=[pb.Accepted(handle=handle, max_tokens=submit.max_tokens)]))
        try:
            reason = await self._speak(submit, play, frames)
        except StreamLost:
            frames.put_nowait(None)
            return
        self._running.pop(handle)
        ended = pb.Ended(handle=handle, reason=reason, retryable=reason == pb.END_REASON_ENGINE_DIED)
        frames.put_nowait(pb.Frame(ended=[ended], loads=[self._load()]))

    async def _speak(self, submit: pb.Submit, play: Play, frames: asyncio.Queue[pb.Frame | None]) -> "pb.EndReason":
        voices = [Voice.of(submit, choice, self._tokens(play)) for choice in range(submit.n)]
        spoken, made, first = 0, 0, True
        collected = pb.Frame()
        while any(voice.left for voice in voices):
            if play.lose_after is not None and spoken >= play.lose_after:
                raise StreamLost
            if play.end_after is not None and spoken >= play.end_after[0]:
                return play.end_after[1]
            if play.wait_after is not None and spoken >= play.wait_after:
                await asyncio.Event().wait()
            frame = collected if submit.final_only else pb.Frame()
            for voice in voices:
                made += voice.speak(submit, play.per_step, frame.tokens)
            if first and submit.logprobs.prompt:
                frame.tokens.prompt_logprobs.append(prompt_logprobs(submit))
            first = False
            spoken += play.per_step
            await self.gate.wait()
            frame.counters.CopyFrom(counters(submit, made))
            if not submit.final_only:
                frames.put_nowait(frame)
                await asyncio.sleep(0)
        if submit.final_only:
            frames.put_nowait(collected)
        return pb.END_REASON_FINISHED

    def _tokens(self, play: Play) -> list[int]:
        text = play.says.removesuffix("<eos>")
        ids = self._bundle.text.encode(text, add_special=False)
        return [*ids, EOS] if play.says.endswith("<eos>") else ids


def replace_handle(refused: pb.Refused, handle: int) -> pb.Refused:
    answer = pb.Refused()
    answer.CopyFrom(refused)
    answer.handle = handle
    return answer


@dataclass
class Voice:
    """One choice on its way."""

    choice: int
    left: list[int]
    room: int

    @classmethod
    def of(cls, submit: pb.Submit, choice: int, tokens: list[int]) -> "Voice":
        resumed = next((r for r in submit.resumed if r.choice == choice), pb.ResumedChoice())
        left = [] if resumed.finished else tokens[len(resumed.token_ids) :]
        return cls(choice, left, submit.max_tokens - len(resumed.token_ids))

    def speak(self, submit: pb.Submit, per_step: int, tokens: pb.Tokens) -> int:
        new, self.left = self.left[: min(per_step, self.room)], self.left[per_step:]
        if not new:
            return 0
        self.room -= len(new)
        finish = pb.FINISH_REASON_UNSPECIFIED
        if new[-1] == EOS and not submit.ignore_eos:
            finish, self.left = pb.FINISH_REASON_STOP, []
        elif self.room == 0 or not self.left:
            finish, self.left = pb.FINISH_REASON_LENGTH, []
        if submit.logprobs.output:
            tokens.logprobs.append(output_logprobs(submit, len(tokens.handles), new))
        tokens.handles.append(submit.handle)
        tokens.choices.append(self.choice)
        tokens.counts.append(len(new))
        tokens.token_ids.extend(new)
        tokens.finish.append(finish)
        return len(new)


def output_logprobs(submit: pb.Submit, entry: int, new: list[int]) -> pb.TokenLogprobs:
    top = submit.logprobs.output_top
    return pb.TokenLogprobs(
        entry=entry,
        logprobs=[-0.5] * len(new),
        top=top,
        top_token_ids=[token + k for token in new for k in range(top)],
        top_logprobs=[-0.5 - k for _ in new for k in range(top)],
    )


def prompt_logprobs(submit: pb.Submit) -> pb.PromptLogprobs:
    top, rest = submit.logprobs.prompt_top, list(submit.token_ids)[1:]
    return pb.PromptLogprobs(
        handle=submit.handle,
        logprobs=[-2.0] * len(rest),
        top=top,
        top_token_ids=[token + k for token in rest for k in range(top)],
        top_logprobs=[-2.0 - k for _ in rest for k in range(top)],
    )


def counters(submit: pb.Submit, made: int) -> pb.Counters:
    return pb.Counters(
        handles=[submit.handle],
        prompt_tokens=[len(submit.token_ids)],
        cached_tokens=[16],
        completion_tokens=[made],
        queue_us=[10],
        prefill_us=[20],
        decode_us=[30],
    )


# ------------------------------------------------------------------------------------------------ fixtures


@dataclass
class Serving:
    """A gateway that answers HTTP."""

    url: str
    gateway: Gateway
    settings: Settings
    clients: AsyncExitStack

    async def openai(self, path: str = "/v1", key: str = "none") -> openai.AsyncOpenAI:
        """A client in its strict mode."""
        client = openai.AsyncOpenAI(
            base_url=self.url + path, api_key=key, max_retries=0, timeout=PATIENCE_S, _strict_response_validation=True
        )
        return await self.clients.enter_async_context(client)

    async def http(self) -> httpx.AsyncClient:
        """A plain client."""
        return await self.clients.enter_async_context(httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S))

    def usage(self) -> list[dict[str, Any]]:
        assert self.settings.usage_file
        return [json.loads(line) for line in self.settings.usage_file.read_text().splitlines()]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a change of workers has made the condition true."""
        signal = Signal()
        self.gateway.held.enter(signal, "")
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await signal.wait()
        self.gateway.held.leave(signal)

    async def eventually(self, condition: Callable[[], object]) -> None:
        """Let the loop turn until the condition is true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - the conditions are nobody's events
                await asyncio.sleep(0)

    async def ready(self, workers: int) -> None:
        await self.until(lambda: sum(load.ready for load in self._loads()) == workers)

    def _loads(self) -> list[Any]:
        pool = self.gateway.pool
        return [load for entry in pool.table.entries for load in pool.entry_loads(entry).values()]


@asynccontextmanager
async def serving(settings: Settings, texts: TextStore) -> AsyncIterator[Serving]:
    listener = bind("127.0.0.1", 0)
    async with Gateway(settings, texts) as gateway:
        server = make_server(App(gateway), settings)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with AsyncExitStack() as clients:
                yield Serving(f"http://127.0.0.1:{listener.getsockname()[1]}", gateway, settings, clients)
        finally:
            server.stop()
            await task


@dataclass
class Stage:
    """Makes workers and gateways for a test and ends them after it."""

    folder: Path
    bundle: Bundle
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    workers: list[FakeWorker] = field(default_factory=list)

    def known_texts(self) -> TextStore:
        return TextStore({self.bundle.digest: self.bundle.text})

    async def worker(self, play: Play | None = None) -> FakeWorker:
        worker = await self.worker_at(f"unix:{self.folder}/w{len(self.workers)}.sock", play)
        self.workers.append(worker)
        return worker

    async def worker_at(self, address: str, play: Play | None = None, tls: TlsFiles | None = None) -> FakeWorker:
        """A worker of which the settings say nothing; with `tls` it takes whom that authority has signed."""
        worker = FakeWorker(address, self.bundle, _credentials(tls) if tls else None)
        worker.play = play or Play()
        await worker.start()
        self.stack.push_async_callback(worker.stop)
        return worker

    async def serve(self, *, texts: TextStore | None = None, limits: Limits | None = None, **settings: Any) -> Serving:
        """A gateway in front of the workers made so far. Returns before they are ready."""
        addresses = settings.pop("workers", tuple(worker.address for worker in self.workers))
        chosen = Settings(
            workers=addresses, usage_file=self.folder / "usage.jsonl", limits=limits or Limits(), **settings
        )
        return await self.stack.enter_async_context(serving(chosen, texts or self.known_texts()))


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    pair = tls.key.read_bytes(), tls.cert.read_bytes()
    return grpc.ssl_server_credentials([pair], root_certificates=tls.ca.read_bytes(), require_client_auth=True)


@pytest.fixture
async def stage(tmp_path: Path, smollm2: Bundle) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path, smollm2)
    async with stage.stack:
        yield stage


StageFront = Callable[..., Awaitable[tuple[FakeWorker, Serving]]]


@pytest.fixture
def front(stage: Stage) -> StageFront:
    """One worker that does what it is told, and a gateway that has found it ready."""

    async def start(play: Play | None = None, **settings: Any) -> tuple[FakeWorker, Serving]:
        worker = await stage.worker(play)
        served = await stage.serve(**settings)
        await served.ready(1)
        return worker, served

    return start


@pytest.fixture
def plays() -> Callable[..., Play]:
    """`Play`, for tests: helper modules are not imported between test files."""
    return lambda **changes: replace(Play(), **changes)

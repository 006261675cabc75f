"""Many requests against one server: closed loop (so many in flight) or open loop (arrivals at a rate)."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from stoker_cli.bench.prompts import Calibration, PromptKind, PromptMaker
from stoker_cli.bench.results import Level, Timing, summarise
from stoker_cli.bench.stream import Api, once, timed
from stoker_cli.http import Connection

OnTiming = Callable[[Timing], None]

# Two text lengths whose token counts tell what a word costs and what a chat template adds.
CALIBRATION_WORDS = (16, 80)


@dataclass(frozen=True, slots=True)
class Closed:
    """Keeps `concurrency` requests in flight."""

    concurrency: int

    def __str__(self) -> str:
        return f"c={self.concurrency}"


@dataclass(frozen=True, slots=True)
class Open:
    """Requests arrive as a Poisson process, `per_s` of them a second, whether or not earlier ones are answered."""

    per_s: float

    def __str__(self) -> str:
        return f"{self.per_s:g}/s"


@dataclass(frozen=True, slots=True)
class Extent:
    """When a level is over: after so many requests, or when none was sent for longer than so many seconds."""

    requests: int | None = None
    duration_s: float | None = None

    def over(self, sent: int, elapsed_s: float) -> bool:
        """No further request may be sent."""
        if self.requests is not None and sent >= self.requests:
            return True
        return self.duration_s is not None and elapsed_s >= self.duration_s


class LevelRun:
    """One level under way: sends requests and collects their timings. Prompts are numbered from `first_index`."""

    def __init__(
        self, api: Api, prompts: PromptMaker, extent: Extent, output_tokens: int, first_index: int, on_timing: OnTiming
    ) -> None:
        self.timings: list[Timing] = []
        self._api = api
        self._prompts = prompts
        self._extent = extent
        self._output_tokens = output_tokens
        self._next_index = first_index
        self._first_index = first_index
        self._on_timing = on_timing

    async def drive(self, load: Closed | Open) -> Level:
        """Run to the end. Raises ServerFailure if the server cannot be reached."""
        cpu_before = time.process_time()
        if isinstance(load, Closed):
            await self._closed(load)
        else:
            await self._open(load)
        return summarise(str(load), self.timings, time.process_time() - cpu_before)

    async def _closed(self, load: Closed) -> None:
        began = time.perf_counter()

        async def client() -> None:
            connection = await Connection.open(self._api.target)
            while not self._over(began):
                connection = await self._send(connection, self._take())
            connection.close()

        async with asyncio.TaskGroup() as clients:
            for _ in range(min(load.concurrency, self._extent.requests or load.concurrency)):
                clients.create_task(client())

    async def _open(self, load: Open) -> None:
        arrivals = random.Random(f"{self._prompts.seed} arrivals")
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        due = loop.time()

        async def visit(index: int) -> None:
            (await self._send(await Connection.open(self._api.target), index)).close()

        async with asyncio.TaskGroup() as visits:
            while not self._over(began):
                visits.create_task(visit(self._take()))
                due += arrivals.expovariate(load.per_s)
                await asyncio.sleep(max(0.0, due - loop.time()))

    def _over(self, began: float) -> bool:
        return self._extent.over(self._next_index - self._first_index, time.perf_counter() - began)

    def _take(self) -> int:
        """The next prompt's number."""
        self._next_index += 1
        return self._next_index - 1

    async def _send(self, connection: Connection, index: int) -> Connection:
        """One request; returns a connection for the next one, which is a new one if the server closed this one."""
        if not connection.usable:
            connection = await Connection.open(self._api.target)
        timing = await timed(connection, self._api, self._prompts.make(index), self._output_tokens)
        self.timings.append(timing)
        self._on_timing(timing)
        return connection


async def calibrated(api: Api, prompts: PromptMaker) -> PromptMaker:
    """`prompts` with its text lengths matched to the server's tokenizer, if the server reports usage.

    Raises ServerFailure if the server cannot be reached or answers with an error.
    """
    if prompts.kind is PromptKind.TOKENS:
        return prompts
    points: list[tuple[int, int]] = []
    for words in CALIBRATION_WORDS:
        probe = replace(prompts, tokens=words, calibration=Calibration(), seed=prompts.seed - 1)
        timing = await once(api, probe.make(words), 1)
        if timing.input_tokens is None:
            return prompts
        points.append((words, timing.input_tokens))
    return replace(prompts, calibration=Calibration.through(points[0], points[1]))

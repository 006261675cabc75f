"""Run the gateway benchmark: see the package."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.document import markdown_table, replace_part
from bench.gateway.bare import bare_write_us
from bench.gateway.calls import Call, all_at_once, ask, direct
from bench.machine import ROOT, machine, revision
from bench.processes import cpu_s, memory_mb, running, stop_on_sigterm, until_answering
from bench.weights import reference_folder

from stoker_cli.bench.results import median, quantile
from stoker_cli.errors import CommandError
from stoker_cli.http import Connection, Target
from stoker_cli.up.options import free_port

LATENCY_TOKENS = 16
PACES_MS = (1.0, 10.0)  # as fast as a small engine steps, which keeps the gateway busy; and as fast as people read


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    streams: int
    stream_tokens: int
    rounds: int
    requests: int
    latency_calls: int


FULL = Size(streams=64, stream_tokens=256, rounds=8, requests=3000, latency_calls=1000)
QUICK = Size(streams=64, stream_tokens=256, rounds=1, requests=300, latency_calls=100)


@dataclass(frozen=True, slots=True)
class Streamed:
    """What streams cost whose worker steps every `step_ms`, everything included, also their prompts and ends.

    bare_write_us     of which writing to the sockets alone takes so much on this machine
    other_core_busy   how much of a core worker and load generator took: near 1 they were the limit
    """

    step_ms: float
    cpu_us_per_token: float
    bare_write_us: float
    tokens_per_s: float
    other_core_busy: float


@dataclass(frozen=True, slots=True)
class Found:
    """What the gateway costs. CPU in microseconds, latency in milliseconds, memory in MB (PSS)."""

    streamed: list[Streamed]
    cpu_us_per_request: float
    requests_per_s: float
    added_p50_ms: float
    added_p90_ms: float
    added_ttft_p50_ms: float
    direct_p50_ms: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Bench:
    """The processes under test. `worker` is an address."""

    gateway: subprocess.Popen[bytes]
    fake: subprocess.Popen[bytes]
    target: Target
    worker: str

    async def cost(self, work: Awaitable[None]) -> tuple[float, float, float]:
        """Seconds that some work took: of the gateway's CPU, of everyone else's, on the clock."""
        gateway, others, wall = cpu_s(self.gateway.pid), self._others(), time.perf_counter()
        await work
        return cpu_s(self.gateway.pid) - gateway, self._others() - others, time.perf_counter() - wall

    def _others(self) -> float:
        return cpu_s(self.fake.pid) + cpu_s(os.getpid())


@asynccontextmanager
async def started(step_ms: float, folder: Path, cores: tuple[int, int]) -> AsyncIterator[Bench]:
    """A worker that steps every `step_ms`, and a gateway that is ready and warm. `cores`: the gateway's, the others'."""
    port = free_port("127.0.0.1", 0)
    worker = f"unix:{folder / f'worker-{step_ms:g}.sock'}"
    fake = ["-m", "bench.gateway.fake_worker", "--listen", worker, "--folder", str(reference_folder())]
    serve = ["-m", "stoker_gateway", "serve", "--listen", f"127.0.0.1:{port}", "--worker", worker]
    logs = ROOT / ".cache" / "bench-gateway"
    with (
        running([sys.executable, *fake, "--step-ms", str(step_ms)], logs / "worker.log", core=cores[1]) as process,
        running(
            [sys.executable, *serve, "--usage-file", str(folder / "usage.jsonl")], logs / "gateway.log", core=cores[0]
        ) as gateway,
    ):
        url = f"http://127.0.0.1:{port}"
        await until_answering(gateway, f"{url}/ready", logs / "gateway.log", timeout_s=60)
        bench = Bench(gateway, process, Target.parse(f"{url}/v1"), worker)
        for seed, stream in enumerate((False, True)):  # caches, connections, lazy imports
            await all_at_once(Call(bench.target, LATENCY_TOKENS, stream=stream, seed=seed), 8, 64)
        yield bench


async def measure_streams(size: Size, step_ms: float, folder: Path, cores: tuple[int, int]) -> Streamed:
    """The cost of a token among many streams."""
    say(f"{size.streams} streams, a token of each every {step_ms:g} ms")
    bare_us = await bare_write_us(size.streams, step_ms, size.stream_tokens, cores[0])
    tokens = size.streams * size.rounds * size.stream_tokens
    async with started(step_ms, folder, cores) as bench:
        call = Call(bench.target, size.stream_tokens, stream=True, seed=2)
        cpu, others, wall = await bench.cost(all_at_once(call, size.streams, size.streams * size.rounds))
    return Streamed(step_ms, cpu / tokens * 1e6, bare_us, tokens / wall, others / wall)


async def measure(size: Size, folder: Path) -> Found:
    """Everything, with this process on the worker's core."""
    gateway_core, load_core, *_ = sorted(os.sched_getaffinity(0))
    cores = gateway_core, load_core
    os.sched_setaffinity(0, {load_core})
    streamed = [await measure_streams(size, step_ms, folder, cores) for step_ms in PACES_MS]
    async with started(PACES_MS[-1], folder, cores) as bench:
        alone = Call(bench.target, LATENCY_TOKENS, stream=False, seed=2)
        say("latency, one request at a time")
        through, straight = await latencies(alone, bench.worker, size.latency_calls)
        first_token = Call(bench.target, 2, stream=True, seed=3)
        ttft_through, ttft_straight = await latencies(first_token, bench.worker, size.latency_calls // 4)
        say("whole answers")
        many = Call(bench.target, LATENCY_TOKENS, stream=False, seed=4)
        cpu, _, wall = await bench.cost(all_at_once(many, 64, size.requests))
        return Found(
            streamed=streamed,
            cpu_us_per_request=cpu / size.requests * 1e6,
            requests_per_s=size.requests / wall,
            added_p50_ms=(median(through) - median(straight)) * 1e3,
            added_p90_ms=(quantile(sorted(through), 0.9) - quantile(sorted(straight), 0.9)) * 1e3,
            added_ttft_p50_ms=(median(ttft_through) - median(ttft_straight)) * 1e3,
            direct_p50_ms=median(straight) * 1e3,
            memory_mb=memory_mb(bench.gateway.pid),
        )


async def latencies(call: Call, worker: str, calls: int) -> tuple[list[float], list[float]]:
    """Seconds of each call through the gateway and straight to the worker, taken in turns."""
    through, straight = [], []
    connection = await Connection.open(call.target)
    async with direct(worker) as shortcut:
        for index in range(calls):
            through.append(await ask(connection, call, index))
            straight.append(await shortcut.ask(call, index))
    connection.close()
    return through, straight


def table(found: Found, size: Size) -> str:
    """The figures as Markdown."""
    streamed = [
        [
            f"CPU per streamed token, {size.streams} streams, a step every {pace.step_ms:g} ms",
            f"{pace.cpu_us_per_token:.1f} µs ({pace.bare_write_us:.1f} for bare writes)",
        ]
        for pace in found.streamed
    ]
    rows = [
        *streamed,
        ["CPU per request answered whole, 64 at a time", f"{found.cpu_us_per_request:.0f} µs"],
        ["requests answered whole, per second", f"{found.requests_per_s:.0f}"],
        ["added latency of a request answered whole, one at a time, median", f"{found.added_p50_ms:.2f} ms"],
        ["added time to first token, one at a time, median", f"{found.added_ttft_p50_ms:.2f} ms"],
        ["memory (PSS)", f"{found.memory_mb:.0f} MB"],
    ]
    return markdown_table(["the gateway, one process on one core", ""], rows)


def say(what: str) -> None:
    """Progress, for whoever waits."""
    print(f"bench.gateway: {what} …", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write the figures, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run; its figures go to no document")
    parser.add_argument("--output", type=Path, help="file for the figures  [default: bench/results/DATE-gateway.json]")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed, one of them for the gateway alone")
    size = QUICK if arguments.quick else FULL
    stop_on_sigterm()
    before = machine()
    try:
        with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
            found = asyncio.run(measure(size, Path(folder)))
    except CommandError as error:
        print(f"bench.gateway: {error}", file=sys.stderr)
        return error.exit_code
    document = {"machine": before, "revision": revision(), "size": asdict(size)}
    output = arguments.output or ROOT / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%d}-gateway.json"
    if not arguments.quick or arguments.output:
        output.write_text(json.dumps({**document, "found": asdict(found)}, indent=2) + "\n")
    if not arguments.quick:
        replace_part(ROOT / "docs" / "benchmarks.md", "gateway", table(found, size))
    print(table(found, size))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the gateway benchmark: see the package."""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.document import markdown_table, replace_part
from bench.gateway.calls import Call, all_at_once, ask, direct
from bench.machine import ROOT, machine, revision
from bench.processes import cpu_s, memory_mb, running, stop_on_sigterm, until_answering
from bench.weights import reference_folder

from stoker_cli.bench.results import median, quantile
from stoker_cli.errors import CommandError
from stoker_cli.http import Connection, Target
from stoker_cli.up.options import free_port

LATENCY_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    streams: int
    stream_tokens: int
    rounds: int
    requests: int
    latency_calls: int


FULL = Size(streams=64, stream_tokens=256, rounds=8, requests=3000, latency_calls=1000)
QUICK = Size(streams=64, stream_tokens=64, rounds=1, requests=300, latency_calls=100)


@dataclass(frozen=True, slots=True)
class Found:
    """What the gateway costs. CPU in microseconds, latency in milliseconds, memory in MB (PSS)."""

    cpu_us_per_streamed_token: float
    streamed_tokens_per_s: float
    cpu_us_per_request: float
    requests_per_s: float
    added_p50_ms: float
    added_p90_ms: float
    added_ttft_p50_ms: float
    direct_p50_ms: float
    memory_mb: float


async def measure(gateway: subprocess.Popen[bytes], target: Target, worker: str, size: Size) -> Found:
    """All scenarios against a gateway that is ready."""
    whole = Call(target, LATENCY_TOKENS, stream=False)
    streamed = Call(target, size.stream_tokens, stream=True)
    await all_at_once(whole, 8, 64)  # caches, connections, lazy imports

    async def cost(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
        cpu, wall = cpu_s(gateway.pid), time.perf_counter()
        await work()
        return cpu_s(gateway.pid) - cpu, time.perf_counter() - wall

    say("latency, one request at a time")
    through, straight = await latencies(whole, worker, size.latency_calls)
    ttft_through, ttft_straight = await latencies(Call(target, 2, stream=True), worker, size.latency_calls // 4)
    say(f"{size.streams} streams")
    tokens = size.streams * size.rounds * size.stream_tokens
    stream_cpu, stream_wall = await cost(lambda: all_at_once(streamed, size.streams, size.streams * size.rounds))
    say("whole answers")
    request_cpu, request_wall = await cost(lambda: all_at_once(whole, 64, size.requests))
    return Found(
        cpu_us_per_streamed_token=stream_cpu / tokens * 1e6,
        streamed_tokens_per_s=tokens / stream_wall,
        cpu_us_per_request=request_cpu / size.requests * 1e6,
        requests_per_s=size.requests / request_wall,
        added_p50_ms=(median(through) - median(straight)) * 1e3,
        added_p90_ms=(quantile(sorted(through), 0.9) - quantile(sorted(straight), 0.9)) * 1e3,
        added_ttft_p50_ms=(median(ttft_through) - median(ttft_straight)) * 1e3,
        direct_p50_ms=median(straight) * 1e3,
        memory_mb=memory_mb(gateway.pid),
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


async def run(size: Size, step_ms: float, folder: Path) -> Found:
    """Start worker and gateway, measure, stop them."""
    port = free_port("127.0.0.1", 0)
    worker = f"unix:{folder / 'worker.sock'}"
    fake = ["-m", "bench.gateway.fake_worker", "--listen", worker, "--folder", str(reference_folder())]
    serve = ["-m", "stoker_gateway", "serve", "--listen", f"127.0.0.1:{port}", "--worker", worker]
    gateway_core, load_core, *_ = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {load_core})
    logs = ROOT / ".cache" / "bench-gateway"
    with (
        running([sys.executable, *fake, "--step-ms", str(step_ms)], logs / "worker.log", core=load_core),
        running(
            [sys.executable, *serve, "--usage-file", str(folder / "usage.jsonl")],
            logs / "gateway.log",
            core=gateway_core,
        ) as gateway,
    ):
        url = f"http://127.0.0.1:{port}"
        await until_answering(gateway, f"{url}/ready", logs / "gateway.log", timeout_s=60)
        return await measure(gateway, Target.parse(f"{url}/v1"), worker, size)


def table(found: Found, size: Size, step_ms: float) -> str:
    """The figures as Markdown."""
    rows = [
        [f"CPU per streamed token, {size.streams} streams, a step every {step_ms:g} ms",
         f"{found.cpu_us_per_streamed_token:.1f} µs"],
        ["CPU per request answered whole, 64 at a time", f"{found.cpu_us_per_request:.0f} µs"],
        ["requests answered whole, per second", f"{found.requests_per_s:.0f}"],
        ["added latency of a request answered whole, one at a time, median", f"{found.added_p50_ms:.2f} ms"],
        ["added time to first token, one at a time, median", f"{found.added_ttft_p50_ms:.2f} ms"],
        ["memory (PSS)", f"{found.memory_mb:.0f} MB"],
    ]  # fmt: skip
    return markdown_table(["the gateway, one process on one core", ""], rows)


def say(what: str) -> None:
    """Progress, for whoever waits."""
    print(f"bench.gateway: {what} …", file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write the figures, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run; its figures go to no document")
    parser.add_argument("--step-ms", type=float, default=10.0, help="time between two tokens of a stream")
    parser.add_argument("--output", type=Path, help="file for the figures  [default: bench/results/DATE-gateway.json]")
    arguments = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed, one of them for the gateway alone")
    size = QUICK if arguments.quick else FULL
    stop_on_sigterm()
    before = machine()
    try:
        with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
            found = asyncio.run(run(size, arguments.step_ms, Path(folder)))
    except CommandError as error:
        print(f"bench.gateway: {error}", file=sys.stderr)
        return error.exit_code
    document = {"machine": before, "revision": revision(), "size": asdict(size), "step_ms": arguments.step_ms}
    output = arguments.output or ROOT / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%d}-gateway.json"
    if not arguments.quick or arguments.output:
        output.write_text(json.dumps({**document, "found": asdict(found)}, indent=2) + "\n")
    if not arguments.quick:
        replace_part(ROOT / "docs" / "benchmarks.md", "gateway", table(found, size, arguments.step_ms))
    print(table(found, size, arguments.step_ms))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One server after the other, round after round, each driven by the same client."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.machine import ROOT
from bench.peers.subjects import Subject, launch
from bench.processes import group_memory_mb, running, until_answering

from stoker_cli.bench.load import Closed, Open
from stoker_cli.bench.plan import Plan, Progress, run
from stoker_cli.bench.prompts import PromptKind, PromptMaker
from stoker_cli.bench.results import Level, Timing
from stoker_cli.bench.stream import Api
from stoker_cli.http import Target
from stoker_cli.up.options import free_port

START_TIMEOUT_S = 1800.0  # a compiler may run first


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `requests` per level of concurrency."""

    tokens: int
    requests: dict[int, int]


FULL = Size(tokens=128, requests={1: 4, 8: 24, 32: 64})
QUICK = Size(tokens=16, requests={1: 1, 8: 8, 32: 32})


@dataclass(frozen=True, slots=True)
class Visit:
    """One subject in one round."""

    subject: str
    round: int
    start_s: float
    memory_mb: float
    load_average_before: float
    levels: dict[int, Level]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "subject": self.subject,
            "round": self.round,
            "start_s": round(self.start_s, 2),
            "memory_mb": round(self.memory_mb),
            "load_average_before": self.load_average_before,
            "levels": {str(concurrency): level.to_json() for concurrency, level in self.levels.items()},
        }


def visit_all(subjects: Sequence[Subject], rounds: int, size: Size) -> list[Visit]:
    """A B C, A B C, …: whatever else the machine does meets all of them. Raises ServerFailure."""
    visits = []
    for number in range(1, rounds + 1):
        for subject in subjects:
            say(f"round {number} of {rounds}: {subject.name} starts")
            visits.append(asyncio.run(_visit(subject, number, size)))
    return visits


async def _visit(subject: Subject, number: int, size: Size) -> Visit:
    port = free_port("127.0.0.1", 0)
    start = launch(subject, port)
    log = ROOT / ".cache" / "peers" / f"{subject.name.replace(' ', '-').replace(',', '')}.log"
    url = f"http://127.0.0.1:{port}"
    with running(start.command, log, env=start.env) as process:
        start_s = await until_answering(process, url + subject.ready_path, log, START_TIMEOUT_S)
        load_average = os.getloadavg()[0]
        levels = await _drive(Api(Target.parse(f"{url}/v1"), subject.model_name, PromptKind.TEXT), number, size)
        memory_mb = group_memory_mb(process.pid)
    return Visit(subject.name, number, start_s, memory_mb, load_average, levels)


async def _drive(api: Api, number: int, size: Size) -> dict[int, Level]:
    """Warm up at the highest concurrency, then measure each level; other prompts in every round."""
    most = max(size.requests)
    warm = Plan((Closed(most),), size.tokens, 8, requests=most, warmup=1)
    await run(api, warm, PromptMaker(PromptKind.TEXT, size.tokens, seed=-number), Progress())
    levels = {}
    for concurrency, requests in size.requests.items():
        plan = Plan((Closed(concurrency),), size.tokens, size.tokens, requests=requests, warmup=0)
        prompts = PromptMaker(PromptKind.TEXT, size.tokens, seed=number * 1000 + concurrency)
        levels[concurrency] = (await run(api, plan, prompts, _Counting(requests))).levels[0]
        say(f"  c={concurrency}: {levels[concurrency].output_tokens_per_s:.1f} tok/s")
    return levels


class _Counting(Progress):
    """A line that counts requests, where somebody watches."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def level(self, load: Closed | Open, total: int | None) -> None:
        """A level begins."""

    def timing(self, timing: Timing) -> None:
        """A request ended."""
        self._done += 1
        if sys.stderr.isatty():
            print(f"\r  {self._done} of {self._total}\r", end="", file=sys.stderr, flush=True)


def say(what: str) -> None:
    """Progress, for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} bench.peers: {what}", file=sys.stderr, flush=True)

"""Long prompts beside short chats: how much later do the chats' next tokens come?

    python -m bench.interference --url http://127.0.0.1:8000 --json bench/results/DATE-interference.json

A few chats stream all the time. First alone: the median gap between two tokens of one chat is an ordinary step. Then long prompts
arrive, one after the other, while the chats go on. Runs against a server that is already there.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import machine, revision

from stoker_cli.bench.plan import first_model
from stoker_cli.bench.prompts import PromptKind, PromptMaker
from stoker_cli.bench.results import Timing, quantile
from stoker_cli.bench.stream import Api, once
from stoker_cli.http import Target

CHAT_TOKENS = 128
MOST_ORDINARY_STEPS = 3.0


@dataclass(frozen=True)
class Gaps:
    """Between two tokens of one chat, in ms; `late` counts those of more than three ordinary steps."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float
    late: int

    @classmethod
    def of(cls, gaps_s: list[float], ordinary_s: float) -> "Gaps":
        """Summarise."""
        ordered = sorted(gaps_s)
        figures = (round(quantile(ordered, share) * 1e3, 1) for share in (0.5, 0.9, 0.99, 1.0))
        return cls(len(ordered), *figures, late=sum(gap > MOST_ORDINARY_STEPS * ordinary_s for gap in ordered))


def gaps_between(timings: list[Timing], begin_s: float, end_s: float) -> Iterator[float]:
    """The gaps of all chats that lie within a span of time."""
    for timing in timings:
        for before, after in zip(timing.pieces, timing.pieces[1:], strict=False):
            if begin_s <= before and after <= end_s:
                yield after - before


class Chats:
    """Streams that follow each other without a pause, `count` at a time, until `most` were answered or nobody wants more."""

    def __init__(self, api: Api, count: int, most: int = 1_000_000) -> None:
        self._api = api
        self._prompts = PromptMaker(PromptKind.TOKENS, 32, seed=1)
        self._numbers = iter(range(most))
        self._count = count
        self.timings: list[Timing] = []
        self.warm = asyncio.Event()  # so many were answered that the server has learned what a step costs
        self.stopping = False

    async def run(self) -> None:
        """To the end of all answers that were begun."""
        await asyncio.gather(*(self._one_after_the_other() for _ in range(self._count)))

    async def _one_after_the_other(self) -> None:
        for number in self._numbers:
            self.timings.append(await once(self._api, self._prompts.make(number), CHAT_TOKENS))
            if len(self.timings) >= self._count:
                self.warm.set()
            if self.stopping:
                return


async def measure(url: str, chats: int, long_tokens: int, long_prompts: int) -> dict[str, Any]:
    """Run both parts."""
    target = Target.parse(f"{url}/v1")
    api = Api(target, await first_model(target, None), PromptKind.TOKENS)
    alone = await _alone(api, chats)
    ordinary_s = quantile(sorted(alone), 0.5)
    beside, long_ttft_s = await _beside(api, chats, PromptMaker(PromptKind.TOKENS, long_tokens, seed=2), long_prompts)
    return {
        "chats": chats,
        "long_prompt_tokens": long_tokens,
        "ordinary_step_ms": round(ordinary_s * 1e3, 1),
        "alone": asdict(Gaps.of(alone, ordinary_s)),
        "beside_long_prompts": asdict(Gaps.of(beside, ordinary_s)),
        "longest_gap_in_ordinary_steps": round(max(beside) / ordinary_s, 2),
        "long_prompt_ttft_s": [round(value, 2) for value in long_ttft_s],
    }


async def _alone(api: Api, count: int) -> list[float]:
    chats = Chats(api, count, most=4 * count)
    await chats.run()
    measured = chats.timings[count:]
    return list(gaps_between(measured, measured[0].sent_s, measured[-1].ended_s))


async def _beside(api: Api, count: int, long: PromptMaker, long_prompts: int) -> tuple[list[float], list[float]]:
    """The chats' gaps while a long prompt was being computed, and how long each prompt took to its first token."""
    chats = Chats(api, count)
    running = asyncio.create_task(chats.run())
    await chats.warm.wait()
    answers = [await once(api, long.make(number), 4) for number in range(long_prompts)]
    chats.stopping = True
    await running
    gaps = [gap for answer in answers for gap in gaps_between(chats.timings, answer.sent_s, answer.pieces[0])]
    return gaps, [answer.pieces[0] - answer.sent_s for answer in answers]


def main() -> int:
    """The command line; the exit code is 1 if a token came later than three ordinary steps."""
    parser = argparse.ArgumentParser(prog="python -m bench.interference", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--chats", type=int, default=4)
    parser.add_argument("--long-tokens", type=int, default=4000)
    parser.add_argument("--long-prompts", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the result here")
    given = parser.parse_args()
    figures = asyncio.run(measure(given.url, given.chats, given.long_tokens, given.long_prompts))
    text = json.dumps({"revision": revision(), "machine": machine(), **figures}, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")
    return 1 if figures["beside_long_prompts"]["late"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""A device without a model, for everything about the engine that is not arithmetic."""

from collections.abc import Callable

import numpy as np
import pytest

from stoker_worker.engine.engine import Engine
from stoker_worker.engine.messages import StepReport, SubmitRequest
from stoker_worker.execution.device import DeviceSpec
from stoker_worker.scheduling.blocks import BlockPool
from stoker_worker.scheduling.pacing import PrefillPacer
from stoker_worker.scheduling.plan import StepPlan
from stoker_worker.scheduling.scheduler import SchedulerLimits

BLOCK = 16
VOCAB = 97


class EchoDevice:
    """Its "KV" is the token ids themselves; logits are a hash of every token that the block table leads to.

    So a wrong slot, a stale block, a block shared too far or a position off by one changes the output.
    """

    def __init__(self) -> None:
        self.spec = DeviceSpec(VOCAB, 512, 64, "none")
        self.steps: list[StepPlan] = []
        self.nan_after: int | None = None

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.kv = np.full(num_blocks * block_size, -1, np.int64)

    def execute(self, plan: StepPlan) -> np.ndarray:
        self.steps.append(plan)
        self.kv[plan.slots] = plan.token_ids
        rows = np.searchsorted(plan.query_starts, plan.logits_rows, side="right") - 1
        logits = np.empty((len(rows), VOCAB), np.float32)
        for index, (row, token) in enumerate(zip(rows, plan.logits_rows, strict=True)):
            context = self.context(plan, row, plan.positions[token] + 1)
            logits[index] = np.random.default_rng(context.astype(np.uint32)).standard_normal(VOCAB) * 3
        if self.nan_after is not None and len(self.steps) > self.nan_after:
            logits[:] = np.nan
        return logits

    def context(self, plan: StepPlan, row: int, length: int) -> np.ndarray:
        positions = np.arange(length)
        blocks = plan.block_tables[row, positions // self.block_size].astype(np.int64)
        assert (blocks >= 0).all()
        tokens = self.kv[blocks * self.block_size + positions % self.block_size]
        assert (tokens >= 0).all(), "reads a position that was never written"
        return tokens


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Harness:
    """An engine on an EchoDevice, and what came out of it per (key, choice)."""

    def __init__(self, *, blocks: int = 64, sequences: int = 8, tokens: int = 64, prefix_cache: bool = True) -> None:
        self.device = EchoDevice()
        self.device.allocate_kv(blocks, BLOCK)
        self.clock = Clock()
        self.pool = BlockPool(blocks)
        limits, pacer = SchedulerLimits(BLOCK, sequences), PrefillPacer(tokens)
        self.engine = Engine(self.device, self.pool, limits, pacer, self.clock, prefix_cache=prefix_cache)
        self.outputs: dict[tuple[int, int], list[int]] = {}
        self.finish: dict[tuple[int, int], int] = {}
        self.reports: list[StepReport] = []
        self.ended: dict[int, int] = {}

    def step(self) -> StepReport:
        report = self.engine.step()
        self.reports.append(report)
        start = 0
        for key, choice, count, finish in zip(report.keys, report.choices, report.counts, report.finish, strict=True):
            self.outputs.setdefault((key, choice), []).extend(report.token_ids[start : start + count])
            start += count
            self.finish[key, choice] = finish
        for ended in report.ended:
            assert ended.key not in self.ended, "ended twice"
            self.ended[ended.key] = ended.reason
        return report

    def run(self, *messages: SubmitRequest) -> dict[tuple[int, int], list[int]]:
        for message in messages:
            self.engine.submit(message)
        while self.engine.has_work:
            self.step()
        self.engine.check()
        assert self.pool.num_free == self.pool.num_blocks
        return self.outputs


@pytest.fixture
def harness() -> Callable[..., Harness]:
    return Harness

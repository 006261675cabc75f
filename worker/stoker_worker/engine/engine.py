"""The engine's loop body: admit → schedule → execute → settle → emit. One thread, one device, many requests."""

import logging
from collections.abc import Callable
from itertools import count

from stoker_worker.engine.active import ActiveRequest, Choice, LogprobsList, Timeline
from stoker_worker.engine.messages import EndedRequest, EndReason, FinishReason, Load, StepReport, SubmitRequest
from stoker_worker.engine.report import ReportBuilder
from stoker_worker.errors import EngineFailure
from stoker_worker.execution.device import Device, Float32
from stoker_worker.sampling.edits import LogitEdits
from stoker_worker.sampling.logprobs import logprobs_of
from stoker_worker.sampling.sampler import Sampler
from stoker_worker.sampling.table import SamplingTable
from stoker_worker.scheduling.blocks import BlockPool
from stoker_worker.scheduling.pacing import PrefillPacer, Work
from stoker_worker.scheduling.planner import build_plan
from stoker_worker.scheduling.scheduler import ScheduledRow, Scheduler, SchedulerLimits
from stoker_worker.scheduling.sequence import Sequence, SequenceGroup

logger = logging.getLogger(__name__)


class Engine:
    """Requests in, reports out. Everything that a request may not exceed was checked by the front.

    clock         seconds, monotonic
    prefix_cache  off: only the choices of one request share blocks
    """

    def __init__(
        self,
        device: Device,
        pool: BlockPool,
        limits: SchedulerLimits,
        pacer: PrefillPacer,
        clock: Callable[[], float],
        *,
        prefix_cache: bool = True,
    ) -> None:
        self._device = device
        self._pool = pool
        self._block_size = limits.block_size
        self._pacer = pacer
        self._clock = clock
        self._prefix_cache = prefix_cache
        self._scheduler = Scheduler(pool, limits, pacer)
        self._table = SamplingTable()
        self._sampler = Sampler(device.spec.vocab_size)
        self._requests: dict[int, ActiveRequest] = {}
        self._choices: dict[Sequence, Choice] = {}
        self._arrivals = count()
        self._ended: list[EndedRequest] = []  # since the last report
        self._step_us = 0

    @property
    def has_work(self) -> bool:
        """A step, or at least a report, is due."""
        return bool(self._requests or self._ended)

    # ------------------------------------------------------------------------------------------------- admit

    def submit(self, message: SubmitRequest) -> None:
        """Queue a request."""
        request = ActiveRequest(
            message=message,
            timeline=Timeline(self._clock()),
            stops=frozenset() if message.ignore_eos else frozenset(message.stop_token_ids),
            prompt_logprobs=LogprobsList(message.logprobs.prompt_top) if message.logprobs.prompt else None,
        )
        for sequence in self._sequences(message):
            choice = self._make_choice(request, sequence)
            request.choices.append(choice)
            self._choices[sequence] = choice
            self._scheduler.add(sequence)
        request.leader = request.choices[0].sequence if request.choices else None
        self._requests[message.key] = request
        if not request.choices:
            self._end(request, EndReason.FINISHED)

    def abort(self, key: int, reason: EndReason = EndReason.ABORTED) -> None:
        """End a request at once, in whatever state; its blocks are free before the next step."""
        request = self._requests.get(key)
        if request:
            self._end(request, reason)

    def _sequences(self, message: SubmitRequest) -> list[Sequence]:
        salt = message.cache_salt if self._prefix_cache else b"request:%d" % message.key
        group = SequenceGroup(
            prompt=message.prompt,
            priority=message.priority,
            arrival=next(self._arrivals),
            n=message.n,
            cache_salt=salt,
            adapter_digest=message.adapter_digest,
            wants_prompt_logits=message.logprobs.prompt and len(message.prompt) > 1,
        )
        finished = [resumed.choice for resumed in message.resumed if resumed.finished]
        return group.sequences({resumed.choice: resumed.token_ids for resumed in message.resumed}, finished)

    def _make_choice(self, request: ActiveRequest, sequence: Sequence) -> Choice:
        message, index = request.message, sequence.order.choice
        edits = None
        if LogitEdits.needed(message.sampling, message.min_tokens):
            output = sequence.token_ids[sequence.num_prompt :]
            edits = LogitEdits(message.sampling, message.prompt, output, message.min_tokens, request.stops)
        return Choice(request, index, sequence, self._table.assign(message.sampling, index), edits)

    # -------------------------------------------------------------------------------------------------- step

    def step(self) -> StepReport:
        """Advance every request that can advance, and report. A report without entries tells of ends only."""
        started = self._clock()
        self._expire(started)
        rows = self._scheduler.schedule()
        report = ReportBuilder()
        if rows:
            for row in rows:
                self._choices[row.sequence].request.timeline.on_scheduled(started)
            plan = build_plan(rows, self._block_size)
            logits = self._device.execute(plan)
            self._scheduler.settle(rows)
            self._settle(rows, logits, report)
            elapsed = self._clock() - started
            self._step_us = round(elapsed * 1e6)
            self._pacer.observe(Work(plan.tokens, plan.keys), elapsed, has_prompts=plan.tokens > plan.sequences)
        ended, self._ended = self._ended, []
        return report.build(ended, self.load())

    def load(self) -> Load:
        """The load after the last step."""
        return Load(
            running=self._scheduler.num_running,
            waiting=self._scheduler.num_waiting,
            free_blocks=self._pool.num_free,
            total_blocks=self._pool.num_blocks,
            step_us=self._step_us,
        )

    def check(self) -> None:
        """Meant for idle moments: raise EngineFailure if the block accounting does not add up."""
        problems = self._scheduler.check()
        if problems:
            raise EngineFailure("block accounting does not add up: " + "; ".join(problems[:5]))

    def _expire(self, now: float) -> None:
        late = [r for r in self._requests.values() if r.deadline is not None and r.deadline <= now]
        for request in late:
            self._end(request, EndReason.DEADLINE, "the request's time was up")

    # ------------------------------------------------------------------------------------------------ settle

    def _settle(self, rows: list[ScheduledRow], logits: Float32, report: ReportBuilder) -> None:
        """Turn a step's logits into tokens, logprobs and ends."""
        drawing, drawing_rows, used = [], [], 0
        for row in rows:
            choice = self._choices[row.sequence]
            if row.sequence.wants_prompt_logits:
                self._take_prompt_logits(choice.request, row, logits[used : used + row.count], report)
                used += row.count
            elif row.reaches_end:
                used += 1
            if row.reaches_end:
                drawing.append(choice)
                drawing_rows.append(used - 1)
        if drawing:
            self._draw(drawing, logits if len(drawing) == len(logits) else logits[drawing_rows], report)

    def _take_prompt_logits(
        self, request: ActiveRequest, row: ScheduledRow, logits: Float32, report: ReportBuilder
    ) -> None:
        """Collect logprobs of the prompt tokens that follow the row's; after the last one nobody waits for more."""
        collected = request.prompt_logprobs
        assert collected is not None
        following = request.message.prompt[row.start + 1 : row.start + 1 + row.count]
        skip = len(collected) - row.start  # a preempted prompt is computed again: those positions are known
        if skip < len(following):
            tokens = following[max(skip, 0) :]
            collected.extend(logprobs_of(logits[max(skip, 0) : len(following)], tokens, collected.top))
        if len(collected) == len(request.message.prompt) - 1:
            row.sequence.wants_prompt_logits = False
            report.add_prompt_logprobs(request.message.key, collected.message())

    def _draw(self, choices: list[Choice], logits: Float32, report: ReportBuilder) -> None:
        """Draw a token for each choice from its row of `logits`, which nobody needs afterwards: edits are made in place."""
        raw = {
            index: logits[index].copy()
            for index, choice in enumerate(choices)
            if choice.request.message.logprobs.output and choice.edits
        }
        for index, choice in enumerate(choices):
            if choice.edits:
                choice.edits.apply(logits[index])
        positions = [len(choice.sequence.token_ids) for choice in choices]
        tokens = self._sampler.sample(
            logits, self._table.gather([choice.row for choice in choices], positions)
        ).tolist()
        now = self._clock()
        for index, (choice, token) in enumerate(zip(choices, tokens, strict=True)):
            self._take_token(choice, token, raw.get(index, logits[index]), now, report)

    def _take_token(self, choice: Choice, token: int, logits: Float32, now: float, report: ReportBuilder) -> None:
        request = choice.request
        if request.message.key not in self._requests:
            return  # a sibling's failure ended the request within this step
        if token < 0:
            self._end(request, EndReason.FAILED, "the model's output is not a number (NaN) for this prompt")
            return
        finish = choice.append(token)
        request.timeline.on_token(now)
        entry = report.add_token(request.message.key, choice.index, token, finish)
        wanted = request.message.logprobs
        if wanted.output:
            logprobs = LogprobsList(wanted.output_top)
            logprobs.extend(logprobs_of(logits[None], [token], wanted.output_top))
            report.add_logprobs(entry, logprobs.message())
        if finish is not FinishReason.NOT_FINISHED:
            self._drop(choice)
            request.choices.remove(choice)
        report.add_counters(request.counters(now))
        if not request.choices:
            self._end(request, EndReason.FINISHED)

    def _end(self, request: ActiveRequest, reason: EndReason, message: str = "") -> None:
        for choice in request.choices:
            self._drop(choice)
        del self._requests[request.message.key]
        self._ended.append(EndedRequest(request.message.key, reason, message))

    def _drop(self, choice: Choice) -> None:
        self._scheduler.finish(choice.sequence)
        self._table.release(choice.row)
        del self._choices[choice.sequence]

"""A step's report, cut by the gateway streams it concerns. This is the hot path: whole columns, few objects per token.

The front names a request to the engine by its stream and its handle there, packed into one integer. So reports need no
look-up tables, and what belongs to one stream is a range of keys.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from stoker_worker.engine.messages import RequestCounters, StepReport, TopLogprobs

HANDLE_BITS = 32
HANDLE_MASK = (1 << HANDLE_BITS) - 1


def request_key(stream_id: int, handle: int) -> int:
    """The engine's name for the request `handle` of a stream."""
    return stream_id << HANDLE_BITS | handle


class Ending(NamedTuple):
    """The last word on a request; `reason` is an EndReason."""

    handle: int
    reason: int
    message: str


@dataclass(slots=True)
class Batch:
    """What a step brought to one stream: parallel columns with an entry per (request, choice).

    token_ids        sum(counts), entry after entry
    counters         the newest cumulative figures of the requests `counted`
    logprobs         index of the entry → its logprobs
    prompt_logprobs  handle → logprobs
    """

    handles: list[int] = field(default_factory=list)
    choices: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    finish: list[int] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)
    counters: list[RequestCounters] = field(default_factory=list)
    ended: list[Ending] = field(default_factory=list)
    logprobs: dict[int, TopLogprobs] = field(default_factory=dict)
    prompt_logprobs: dict[int, TopLogprobs] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """There is nothing in it that anybody would want to know."""
        return not (self.handles or self.counters or self.ended or self.prompt_logprobs)

    def starts(self) -> Iterable[int]:
        """Where each entry's tokens begin in `token_ids`."""
        if self.counts.count(1) == len(self.counts):
            return range(len(self.counts))
        return accumulate(self.counts[:-1], initial=0)

    def partition(self, handles: Container[int]) -> tuple["Batch", "Batch"]:
        """What belongs to the requests `handles`, and the rest."""
        inside: list[int] = []
        outside: list[int] = []
        for index, handle in enumerate(self.handles):
            (inside if handle in handles else outside).append(index)
        first, second = self.select(inside), self.select(outside)
        for handle, counters in zip(self.counted, self.counters, strict=True):
            part = first if handle in handles else second
            part.counted.append(handle)
            part.counters.append(counters)
        for ending in self.ended:
            (first if ending.handle in handles else second).ended.append(ending)
        for handle, logprobs in self.prompt_logprobs.items():
            (first if handle in handles else second).prompt_logprobs[handle] = logprobs
        return first, second

    def select(self, indices: list[int]) -> "Batch":
        """The entries at `indices`, without what belongs to whole requests."""
        if self.counts.count(1) == len(self.counts):
            token_ids = [self.token_ids[i] for i in indices]
        else:
            starts = list(self.starts())
            token_ids = [t for i in indices for t in self.token_ids[starts[i] : starts[i] + self.counts[i]]]
        return Batch(
            handles=[self.handles[i] for i in indices],
            choices=[self.choices[i] for i in indices],
            counts=[self.counts[i] for i in indices],
            token_ids=token_ids,
            finish=[self.finish[i] for i in indices],
            logprobs=_renumbered(self.logprobs, indices) if self.logprobs else {},
        )


def split(report: StepReport) -> dict[int, Batch]:
    """Cut a report by stream: stream id → its part. The report's lists may become the batches' own."""
    counted = [counters.key for counters in report.counters]
    keys = report.keys if counted == report.keys else report.keys + counted
    if report.ended or report.prompt_logprobs:
        keys = keys + [ended.key for ended in report.ended] + list(report.prompt_logprobs)
    if not keys:
        return {}
    stream_id = keys[0] >> HANDLE_BITS
    if min(keys) >> HANDLE_BITS == stream_id == max(keys) >> HANDLE_BITS:
        return {stream_id: _whole(report, stream_id, counted)}
    return _split_mixed(report, {key >> HANDLE_BITS for key in keys})


def _whole(report: StepReport, stream_id: int, counted: list[int]) -> Batch:
    """A report that concerns one stream only."""
    base = stream_id << HANDLE_BITS
    handles = [key - base for key in report.keys]
    return Batch(
        handles=handles,
        choices=report.choices,
        counts=report.counts,
        token_ids=report.token_ids,
        finish=report.finish,
        counted=handles if counted == report.keys else [key - base for key in counted],
        counters=report.counters,
        ended=[Ending(ended.key - base, ended.reason, ended.message) for ended in report.ended],
        logprobs=report.logprobs,
        prompt_logprobs={key - base: logprobs for key, logprobs in report.prompt_logprobs.items()},
    )


def _split_mixed(report: StepReport, stream_ids: set[int]) -> dict[int, Batch]:
    """The parts of several streams."""
    entries = Batch(
        handles=[key & HANDLE_MASK for key in report.keys],
        choices=report.choices,
        counts=report.counts,
        token_ids=report.token_ids,
        finish=report.finish,
        logprobs=report.logprobs,
    )
    indices: dict[int, list[int]] = {stream_id: [] for stream_id in stream_ids}
    for index, key in enumerate(report.keys):
        indices[key >> HANDLE_BITS].append(index)
    batches = {stream_id: entries.select(rows) for stream_id, rows in indices.items()}
    for counters in report.counters:
        batch = batches[counters.key >> HANDLE_BITS]
        batch.counted.append(counters.key & HANDLE_MASK)
        batch.counters.append(counters)
    for ended in report.ended:
        ending = Ending(ended.key & HANDLE_MASK, ended.reason, ended.message)
        batches[ended.key >> HANDLE_BITS].ended.append(ending)
    for key, logprobs in report.prompt_logprobs.items():
        batches[key >> HANDLE_BITS].prompt_logprobs[key & HANDLE_MASK] = logprobs
    return batches


def _renumbered(logprobs: dict[int, TopLogprobs], indices: list[int]) -> dict[int, TopLogprobs]:
    return {new: logprobs[old] for new, old in enumerate(indices) if old in logprobs}

"""What is kept of a request's output while nobody takes it: one growing run of tokens per choice, the newest counters."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from stoker_worker.engine.messages import RequestCounters, TopLogprobs
from stoker_worker.service.batch import Batch, Ending


class MergedLogprobs:
    """Logprobs of successive tokens of one choice, compact."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.logprobs = array("f")
        self.top_token_ids = array("I")
        self.top_logprobs = array("f")

    def extend(self, more: TopLogprobs) -> None:
        """Append positions."""
        self.logprobs.extend(more.logprobs)
        self.top_token_ids.extend(more.top_token_ids)
        self.top_logprobs.extend(more.top_logprobs)


class MergedChoice:
    """Undelivered tokens of one choice: four bytes each, however many steps they came in."""

    __slots__ = ("finish", "logprobs", "token_ids")

    def __init__(self) -> None:
        self.token_ids = array("I")
        self.finish = 0
        self.logprobs: MergedLogprobs | None = None

    def extend(self, token_ids: Iterable[int], finish: int, logprobs: TopLogprobs | None) -> None:
        """Take in an entry of a step."""
        self.token_ids.extend(token_ids)
        self.finish = self.finish or finish
        if logprobs:
            if self.logprobs is None:
                self.logprobs = MergedLogprobs(logprobs.top)
            self.logprobs.extend(logprobs)

    @property
    def num_values(self) -> int:
        """How much this adds to a frame: numbers, and one for the entry."""
        more = len(self.logprobs.logprobs) + 2 * len(self.logprobs.top_logprobs) if self.logprobs else 0
        return 1 + len(self.token_ids) + more


@dataclass(slots=True)
class MergedRequest:
    """Undelivered output of one request."""

    choices: dict[int, MergedChoice] = field(default_factory=dict)
    counters: RequestCounters | None = None
    prompt_logprobs: TopLogprobs | None = None
    ending: Ending | None = None


def merge(batch: Batch, requests: dict[int, MergedRequest]) -> None:
    """Add a step's output to that of `requests` (by handle), which are made where they are missing."""

    def request_of(handle: int) -> MergedRequest:
        request = requests.get(handle)
        if request is None:
            request = requests[handle] = MergedRequest()
        return request

    entries = zip(batch.handles, batch.choices, batch.starts(), batch.counts, batch.finish, strict=True)
    for index, (handle, choice, start, count, finish) in enumerate(entries):
        choices = request_of(handle).choices
        merged = choices.get(choice)
        if merged is None:
            merged = choices[choice] = MergedChoice()
        merged.extend(batch.token_ids[start : start + count], finish, batch.logprobs.get(index))
    for handle, counters in zip(batch.counted, batch.counters, strict=True):
        request_of(handle).counters = counters
    for handle, logprobs in batch.prompt_logprobs.items():
        request_of(handle).prompt_logprobs = logprobs
    for ending in batch.ended:
        request_of(ending.handle).ending = ending

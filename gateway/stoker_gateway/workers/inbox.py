"""What a worker has said about one request on one attempt."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import msgspec

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.usage import TokenCounts
from stoker_gateway.workers.signal import Signal


class Finish(Enum):
    """Why a choice stopped; the values are OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


class TopLogprobs(NamedTuple):
    """Logprobs of `count` positions, and `top` alternatives at each, best first, flattened."""

    logprobs: list[float]
    top: int
    top_token_ids: list[int]
    top_logprobs: list[float]


class Delta(msgspec.Struct, frozen=True, gc=False):
    """New tokens of one choice. A Struct because one is made for every token: it costs a quarter of a named tuple."""

    choice: int
    token_ids: list[int]
    finish: Finish | None
    logprobs: TopLogprobs | None


class RefusalReason(Enum):
    """What the gateway does about a refusal."""

    INVALID = auto()  # the request's fault
    TOO_LONG = auto()
    BUSY = auto()  # the queue is full
    AWAY = auto()  # the engine is down, draining or does not have the model (any more)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The worker did not take the request."""

    reason: RefusalReason
    field: str
    message: str
    retryable: bool


class EndReason(Enum):
    """Why an attempt is over."""

    FINISHED = auto()
    ABORTED = auto()
    DEADLINE = auto()
    BROKEN_OFF = auto()  # the stream was lost, the engine died or the worker was drained
    FAILED = auto()  # this request made the engine fail


@dataclass(frozen=True, slots=True)
class End:
    """The worker's last word. `retryable`: the request may go on elsewhere."""

    reason: EndReason
    retryable: bool = False


class Inbox:
    """Filled by the connection, emptied by the request's task, which `signal` wakes.

    counted   where the newest cumulative counters stand: they are read only when somebody asks
    """

    __slots__ = ("accepted", "counted", "deltas", "end", "prompt_logprobs", "refusal", "signal")

    def __init__(self, signal: Signal) -> None:
        self.signal = signal
        self.accepted = False
        self.refusal: Refusal | None = None
        self.end: End | None = None
        self.deltas: list[Delta] = []
        self.prompt_logprobs: TopLogprobs | None = None
        self.counted: tuple[pb.Counters, int] | None = None

    @property
    def counts(self) -> TokenCounts:
        """The newest counters."""
        if self.counted is None:
            return TokenCounts()
        counters, i = self.counted
        return TokenCounts(
            prompt=counters.prompt_tokens[i],
            cached=counters.cached_tokens[i],
            completion=counters.completion_tokens[i],
            reasoning=counters.reasoning_tokens[i] if counters.reasoning_tokens else 0,
            drafted=counters.drafted_tokens[i] if counters.drafted_tokens else 0,
            accepted=counters.accepted_tokens[i] if counters.accepted_tokens else 0,
            queue_us=counters.queue_us[i],
            prefill_us=counters.prefill_us[i],
            decode_us=counters.decode_us[i],
        )

"""A request while the engine has it: its choices, its clock, and what is to be told about it."""

from dataclasses import dataclass, field

from stoker_worker.engine.messages import FinishReason, RequestCounters, SubmitRequest, TopLogprobs
from stoker_worker.sampling.edits import LogitEdits
from stoker_worker.sampling.logprobs import Logprobs
from stoker_worker.scheduling.sequence import Sequence, SequenceState


@dataclass(slots=True)
class Timeline:
    """Moments of a request, in seconds of the engine's clock; 0 until they happen."""

    submitted: float
    scheduled: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0

    def on_scheduled(self, now: float) -> None:
        """A first chunk of the prompt went into a step."""
        self.scheduled = self.scheduled or now

    def on_token(self, now: float) -> None:
        """A token came out of a step."""
        self.first_token = self.first_token or now
        self.last_token = now

    def phases_us(self, now: float) -> tuple[int, int, int]:
        """Time so far in queue, prefill and decode."""
        queue_end = self.scheduled or now
        prefill_end = self.first_token or (now if self.scheduled else queue_end)
        return (
            round((queue_end - self.submitted) * 1e6),
            round((prefill_end - queue_end) * 1e6),
            round((self.last_token - self.first_token) * 1e6),
        )


class LogprobsList:
    """Logprobs of successive positions, as they are sent."""

    def __init__(self, top: int) -> None:
        self.top = top
        self._chosen: list[float] = []
        self._ids: list[int] = []
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._chosen)

    def extend(self, logprobs: Logprobs) -> None:
        """Append positions."""
        self._chosen += logprobs.chosen.tolist()
        self._ids += logprobs.top_ids.ravel().tolist()
        self._values += logprobs.top_values.ravel().tolist()

    def message(self) -> TopLogprobs:
        """All positions."""
        return TopLogprobs(self._chosen, self.top, self._ids, self._values)


@dataclass(slots=True, eq=False)
class Choice:
    """One choice that is not finished yet.

    row    of the sampling table
    edits  None for a request that edits no logits
    """

    request: "ActiveRequest"
    index: int
    sequence: Sequence
    row: int
    edits: LogitEdits | None

    @property
    def num_output(self) -> int:
        """Output tokens so far, resumed ones included."""
        return len(self.sequence.token_ids) - self.sequence.num_prompt

    def append(self, token: int) -> FinishReason:
        """Take in a drawn token; says whether it was the last."""
        self.sequence.token_ids.append(token)
        self.request.completion += 1
        if self.edits:
            self.edits.append(token)
        message = self.request.message
        if token in self.request.stops and self.num_output >= message.min_tokens:
            return FinishReason.STOP
        return FinishReason.LENGTH if self.num_output >= message.max_tokens else FinishReason.NOT_FINISHED


@dataclass(slots=True, eq=False)
class ActiveRequest:
    """A submitted request that has not ended. `choices` are those without a finish reason."""

    message: SubmitRequest
    timeline: Timeline
    stops: frozenset[int]
    choices: list[Choice] = field(default_factory=list)
    leader: Sequence | None = None
    completion: int = 0  # tokens made here, all choices together
    prompt_logprobs: LogprobsList | None = None

    @property
    def deadline(self) -> float | None:
        """When its time is up, on the engine's clock."""
        left_ms = self.message.time_left_ms
        return self.timeline.submitted + left_ms / 1000 if left_ms else None

    @property
    def is_running(self) -> bool:
        """Some choice holds blocks."""
        return any(choice.sequence.state is SequenceState.RUNNING for choice in self.choices)

    def counters(self, now: float) -> RequestCounters:
        """The cumulative figures that ride on every frame."""
        queue_us, prefill_us, decode_us = self.timeline.phases_us(now)
        return RequestCounters(
            key=self.message.key,
            prompt=len(self.message.prompt),
            cached=self.leader.num_cached if self.leader else 0,
            completion=self.completion,
            queue_us=queue_us,
            prefill_us=prefill_us,
            decode_us=decode_us,
        )

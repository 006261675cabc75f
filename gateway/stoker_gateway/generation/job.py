"""One prompt's generation over all its attempts: place it on a worker, take in what comes, move it if the worker is lost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from stoker_core.principals import Principal
from stoker_core.usage import Outcome, TokenCounts, UsageEvent
from stoker_gateway.errors import (
    ApiError,
    ContextLengthExceeded,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    WorkerFailed,
)
from stoker_gateway.generation.choice import Choice
from stoker_gateway.generation.counts import over_attempts
from stoker_gateway.generation.plan import Plan
from stoker_gateway.routing.choose import choose, routing_key
from stoker_gateway.routing.table import Endpoint, Variant
from stoker_gateway.workers.connection import WorkerConnection
from stoker_gateway.workers.inbox import End, EndReason, Inbox, Refusal, RefusalReason, TopLogprobs
from stoker_gateway.workers.pool import WorkerPool
from stoker_gateway.workers.signal import Signal
from stoker_gateway.workers.submit import Delivered, Submission

MAX_ATTEMPTS = 3
RETRY_AFTER_S = 1


class State(Enum):
    """Of a job."""

    UNPLACED = auto()  # no worker has it
    SUBMITTED = auto()  # a worker was asked
    RUNNING = auto()  # it accepted
    SETTLING = auto()  # it was told to stop; its last word, with the final counters, is awaited
    DONE = auto()


MOVES = {
    State.UNPLACED: {State.SUBMITTED, State.DONE},
    State.SUBMITTED: {State.UNPLACED, State.RUNNING, State.SETTLING, State.DONE},
    State.RUNNING: {State.UNPLACED, State.SETTLING, State.DONE},
    State.SETTLING: {State.DONE},
    State.DONE: set(),
}


@dataclass(frozen=True, slots=True)
class Owner:
    """What every job of one HTTP request has in common.

    entry_key   of the entry of every routing table that it may use
    deadline_s  on `clock`, the loop's
    """

    principal: Principal
    entry_key: str
    model: Variant
    traceparent: str
    region: str
    deadline_s: float
    clock: Callable[[], float]
    signal: Signal
    record: Callable[[UsageEvent], None]


@dataclass(slots=True)
class Attempt:
    """One submission to one worker. Counted, and an attempt in the usage, once it is accepted."""

    endpoint: Endpoint
    connection: WorkerConnection
    inbox: Inbox
    handle: int
    number: int
    started_unix_ms: int = 0


class Job:
    """One prompt of a request. Its task calls `advance` after every signal until it is done."""

    def __init__(self, request_id: str, plan: Plan, choices: Sequence[Choice], owner: Owner, pool: WorkerPool) -> None:
        self.request_id = request_id
        self.plan = plan
        self.choices = choices
        self.state = State.UNPLACED
        self.accepted = False  # by any worker so far
        self.attempts = 0
        self.counts = TokenCounts(prompt=len(plan.prompt_ids))  # of all attempts together
        self._owner = owner
        self._pool = pool
        self._attempt: Attempt | None = None
        self._refused_by: set[str] = set()
        self._outcome = Outcome.COMPLETED

    def advance(self) -> None:
        """Take in what has happened; once per token, so kept short. Raises ApiError if the request cannot be fulfilled."""
        attempt = self._attempt
        if attempt is None:
            if self.state is State.UNPLACED:
                self._place()
            return
        inbox = attempt.inbox
        if inbox.accepted and not attempt.started_unix_ms:
            self._accept(attempt)
        if inbox.prompt_logprobs is not None:
            self._echo(inbox.prompt_logprobs)
            inbox.prompt_logprobs = None
        if inbox.deltas:
            deltas, inbox.deltas = inbox.deltas, []
            for delta in deltas:
                self.choices[delta.choice].feed(delta)
        if inbox.refusal is not None:
            self._drop(attempt, inbox.refusal)
        elif inbox.end is not None:
            self._ended(attempt, inbox.end)
        elif self.plan.stop_strings and self.state is State.RUNNING and self._cut_here():
            self.stop(Outcome.COMPLETED)

    def stop(self, outcome: Outcome) -> None:
        """Nothing more is wanted: tell the worker, and await its last word."""
        self._outcome = outcome
        if self._attempt is None:
            self._move(State.DONE)
        elif self.state is not State.SETTLING:
            self._attempt.connection.abort(self._attempt.handle)
            self._move(State.SETTLING)

    def abandon(self, outcome: Outcome) -> None:
        """End at once with the counters seen last; nobody waits any longer."""
        attempt = self._attempt
        if attempt is not None:
            if self.state is not State.SETTLING:
                attempt.connection.abort(attempt.handle)
            attempt.connection.forget(attempt.handle)
            if attempt.inbox.accepted and not attempt.started_unix_ms:
                self._accept(attempt)
            self._close(attempt, outcome)
        self._move(State.DONE)

    # ------------------------------------------------------------------------------------------- placing

    def _place(self) -> None:
        """Submit to the best ready worker; stay unplaced if there is none. Raises ApiError if waiting has no point."""
        endpoints = self._endpoints()
        loads = self._pool.loads(endpoints)
        key = routing_key(self.plan.prompt_ids, self.plan.cache_salt) if len(endpoints) > 1 else b""
        chosen = choose(endpoints, key, loads, excluded=self._refused_by, region=self._owner.region)
        if chosen is not None:
            self._submit(chosen)
        elif self.accepted:
            raise WorkerFailed("The worker broke off, and no other could continue. Send the request again.")
        elif self._refused_by:
            raise Overloaded("All workers of this model are busy. Try again shortly.", retry_after_s=RETRY_AFTER_S)

    def _endpoints(self) -> Sequence[Endpoint]:
        """Where the revision that this prompt was tokenised for is served now."""
        entry = self._pool.table.entry(self._owner.entry_key)
        return entry.endpoints(self._owner.model.model) if entry else ()

    def _submit(self, endpoint: Endpoint) -> None:
        connection = self._pool.connection(endpoint.address)
        submission = Submission(
            request_id=self.request_id,
            attempt=self.attempts + 1,
            account=self._owner.principal.account,
            traceparent=self._owner.traceparent,
            model=str(endpoint.model),
            plan=self.plan,
            time_left_ms=max(1, int((self._owner.deadline_s - self._owner.clock()) * 1000)),
            delivered=self._delivered(),
        )
        inbox = Inbox(self._owner.signal)
        self._attempt = Attempt(endpoint, connection, inbox, connection.submit(submission, inbox), submission.attempt)
        self._move(State.SUBMITTED)

    def _delivered(self) -> tuple[Delivered, ...]:
        if not self.accepted:
            return ()
        return tuple(
            Delivered(i, choice.token_ids, choice.finish is not None)
            for i, choice in enumerate(self.choices)
            if choice.token_ids
        )

    # ---------------------------------------------------------------------------------- what the worker says

    def _accept(self, attempt: Attempt) -> None:
        attempt.started_unix_ms = _unix_ms()
        self.attempts += 1
        self.accepted = True
        if self.state is State.SUBMITTED:
            self._move(State.RUNNING)

    def _echo(self, prompt: TopLogprobs) -> None:
        if self.attempts == 1:  # a later attempt says the same again
            for choice in self.choices:
                choice.echo_scores(prompt)

    def _cut_here(self) -> bool:
        """Every choice has ended, some by a stop string that the worker does not know of."""
        return all(choice.finish for choice in self.choices) and any(choice.cut_here for choice in self.choices)

    def _drop(self, attempt: Attempt, refusal: Refusal) -> None:
        """The worker refused: another one, or later, or never."""
        self._attempt = None
        if self.state is State.SETTLING:
            self._move(State.DONE)
            return
        self._move(State.UNPLACED)
        if refusal.reason is RefusalReason.BUSY:
            self._refused_by.add(attempt.endpoint.address)
        elif refusal.reason is RefusalReason.AWAY or refusal.retryable:
            attempt.connection.withdraw(str(attempt.endpoint.model))
        else:
            raise _refusal_error(refusal)
        self._place()

    def _ended(self, attempt: Attempt, end: End) -> None:
        if end.reason is EndReason.FINISHED or self.state is State.SETTLING:
            self._close(attempt, self._outcome)
            self._move(State.DONE)
        elif end.reason is EndReason.DEADLINE:
            self._close(attempt, Outcome.DEADLINE)
            self._move(State.DONE)
            raise DeadlineExceeded("The request took longer than this gateway allows. Ask for fewer tokens.")
        elif all(choice.finish for choice in self.choices):
            self._close(attempt, Outcome.COMPLETED)
            self._move(State.DONE)
        elif end.reason is EndReason.BROKEN_OFF or end.retryable:
            self._go_on_elsewhere(attempt)
        else:
            self._close(attempt, Outcome.FAILED)
            self._move(State.DONE)
            raise WorkerFailed("The worker failed on this request. Send it again, or change it.")

    def _go_on_elsewhere(self, attempt: Attempt) -> None:
        """The next attempt continues after what was delivered. Raises WorkerFailed if nobody can take it."""
        self._attempt = None
        self._refused_by.clear()
        self._move(State.UNPLACED)
        attempt.connection.withdraw(str(attempt.endpoint.model))
        try:
            if self.attempts >= MAX_ATTEMPTS:
                raise WorkerFailed(f"{MAX_ATTEMPTS} workers broke off one after the other. Send the request again.")
            self._place()
        except ApiError:
            self._close(attempt, Outcome.FAILED)
            raise
        self._close(attempt, Outcome.MOVED)

    def _close(self, attempt: Attempt, outcome: Outcome) -> None:
        """Account for an attempt, once; one that was never accepted has no usage."""
        if attempt is self._attempt:
            self._attempt = None
        if not attempt.started_unix_ms:
            return
        counts, endpoint = attempt.inbox.counts, attempt.endpoint
        self.counts = over_attempts(self.counts, counts)
        self._owner.record(
            UsageEvent(
                request_id=self.request_id,
                attempt=attempt.number,
                account=self._owner.principal.account,
                key_id=self._owner.principal.key_id,
                model=str(endpoint.model),
                outcome=outcome,
                started_unix_ms=attempt.started_unix_ms,
                ended_unix_ms=_unix_ms(),
                counts=counts,
                deployment_uid=endpoint.deployment_uid,
                region=endpoint.region,
                pool=endpoint.pool,
                tier=endpoint.tier,
            )
        )

    def _move(self, state: State) -> None:
        assert state in MOVES[self.state], f"{self.state} → {state}"
        self.state = state


def _refusal_error(refusal: Refusal) -> ApiError:
    if refusal.reason is RefusalReason.TOO_LONG:
        return ContextLengthExceeded(refusal.message)
    return InvalidRequest(refusal.message, param=refusal.field or None)


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000

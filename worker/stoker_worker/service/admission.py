"""Whether the worker takes a request: decided from the request and the engine's facts alone, before anything waits."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.names import MAX_TOP_LOGPROBS

MAX_CHOICES = 128
MAX_STOP_TOKEN_IDS = 1024
MAX_LOGIT_BIASES = 1024
MAX_NAME_BYTES = 256  # request id, account and traceparent
MAX_SALT_BYTES = 64


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What admission must know of the engine and of the worker's own state.

    ready           the engine takes requests
    context_length  tokens of prompt and output together
    not_ready_why   for a person; empty if ready
    open_requests   accepted ones whose end has not been delivered
    """

    model: str
    ready: bool
    draining: bool
    context_length: int
    vocab_size: int
    open_requests: int
    max_queue: int
    not_ready_why: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Take it. `max_tokens` is cut to what fits the context."""

    max_tokens: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Do not take it. `field` is the Submit field at fault, if one is."""

    code: pb.RefusalCode.ValueType
    message: str
    field: str = ""
    retryable: bool = False


def admit(submit: pb.Submit, facts: EngineFacts, *, handle_in_use: bool = False) -> Accepted | Refused:
    """Decide on a request. Whoever is refused learns which field is at fault and what would be accepted."""
    refusal = (
        _refuse_by_state(submit, facts, handle_in_use)
        or _refuse_unsupported(submit)
        or _refuse_prompt(submit, facts)
        or next(_faults(submit, facts), None)
    )
    if refusal:
        return refusal
    max_tokens = min(submit.max_tokens, facts.context_length - len(submit.token_ids))
    return _refuse_resumed(submit, facts, max_tokens) or Accepted(max_tokens)


def _refuse_by_state(submit: pb.Submit, facts: EngineFacts, handle_in_use: bool) -> Refused | None:
    """Refusals that have nothing to do with what is asked for."""
    if handle_in_use:
        return _invalid("handle", f"handle {submit.handle} belongs to a request that has not ended")
    if submit.model != facts.model:
        message = f"this worker serves {facts.model}, not the model asked for"
        return Refused(pb.REFUSAL_CODE_UNKNOWN_MODEL, message, "model", retryable=True)
    if facts.draining:
        return Refused(pb.REFUSAL_CODE_DRAINING, "this worker is draining and takes no more requests", retryable=True)
    if not facts.ready:
        return Refused(pb.REFUSAL_CODE_ENGINE_DOWN, facts.not_ready_why or "the engine is not ready", retryable=True)
    if facts.open_requests >= facts.max_queue:
        message = f"{facts.open_requests} requests have not ended, the most this worker takes"
        return Refused(pb.REFUSAL_CODE_QUEUE_FULL, message, retryable=True)
    return None


def _refuse_unsupported(submit: pb.Submit) -> Refused | None:
    if submit.task != pb.TASK_GENERATE:
        return _unsupported("task", "this worker only generates")
    if submit.media:
        return _unsupported("media", "this model takes no media")
    if submit.adapter_digest:
        return _unsupported("adapter_digest", "this worker has no adapters")
    if submit.HasField("grammar"):
        return _unsupported("grammar", "this worker constrains no output by grammars")
    return None


def _refuse_prompt(submit: pb.Submit, facts: EngineFacts) -> Refused | None:
    length = len(submit.token_ids)
    if not length:
        return _invalid("token_ids", "the prompt is empty; it needs at least one token")
    if length >= facts.context_length:
        message = f"the prompt has {length} tokens; with one of output it must fit {facts.context_length}"
        return Refused(pb.REFUSAL_CODE_TOO_LONG, message, "token_ids")
    if max(submit.token_ids) >= facts.vocab_size:
        return _invalid("token_ids", f"token ids must be below {facts.vocab_size}")
    return None


def _faults(submit: pb.Submit, facts: EngineFacts) -> Iterator[Refused]:
    """Values out of range, in the order of the message's fields."""
    for field, size, most in _sizes(submit):
        if size > most:
            yield _invalid(field, f"{field} has {size} entries or bytes; at most {most} are taken")
    yield from _sampling_faults(submit, facts)
    if not 1 <= submit.n <= MAX_CHOICES:
        yield _invalid("n", f"n is {submit.n}; it must be 1 to {MAX_CHOICES}")
    if _beyond(submit.stop_token_ids, facts.vocab_size):
        yield _invalid("stop_token_ids", f"token ids must be below {facts.vocab_size}")
    if submit.max_tokens < 1:
        yield _invalid("max_tokens", "max_tokens is 0; it must be at least 1")
    if submit.min_tokens > submit.max_tokens:
        yield _invalid("min_tokens", f"min_tokens is {submit.min_tokens}, more than max_tokens, {submit.max_tokens}")
    for field in ("output_top", "prompt_top"):
        if getattr(submit.logprobs, field) > MAX_TOP_LOGPROBS:
            yield _invalid(f"logprobs.{field}", f"at most {MAX_TOP_LOGPROBS} alternatives are given")


def _sizes(submit: pb.Submit) -> tuple[tuple[str, int, int], ...]:
    return (
        ("request_id", len(submit.request_id), MAX_NAME_BYTES),
        ("account", len(submit.account), MAX_NAME_BYTES),
        ("traceparent", len(submit.traceparent), MAX_NAME_BYTES),
        ("sampling.logit_bias", len(submit.sampling.logit_bias), MAX_LOGIT_BIASES),
        ("stop_token_ids", len(submit.stop_token_ids), MAX_STOP_TOKEN_IDS),
        ("cache_salt", len(submit.cache_salt), MAX_SALT_BYTES),
        ("resumed", len(submit.resumed), submit.n),
    )


# Field of Sampling, what it must satisfy beside being finite, and that in words.
_RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("temperature", lambda value: value >= 0, "at least 0"),
    ("top_p", lambda value: 0 <= value <= 1, "0 to 1"),
    ("min_p", lambda value: 0 <= value <= 1, "0 to 1"),
    ("repetition_penalty", lambda value: value > 0, "more than 0"),
    ("presence_penalty", lambda _: True, "a finite number"),
    ("frequency_penalty", lambda _: True, "a finite number"),
)


def _sampling_faults(submit: pb.Submit, facts: EngineFacts) -> Iterator[Refused]:
    sampling = submit.sampling
    if not submit.HasField("sampling"):
        yield _invalid("sampling", "sampling is missing; all its fields must be set")
    for field, fits, words in _RANGES:
        value = getattr(sampling, field)
        if not (math.isfinite(value) and fits(value)):
            yield _invalid(f"sampling.{field}", f"{field} is {value:g}; it must be {words}")
    for bias in sampling.logit_bias:
        if bias.token_id >= facts.vocab_size or not math.isfinite(bias.bias):
            message = f"logit_bias needs token ids below {facts.vocab_size} and finite numbers"
            yield _invalid("sampling.logit_bias", message)


def _refuse_resumed(submit: pb.Submit, facts: EngineFacts, max_tokens: int) -> Refused | None:
    """Choices that an earlier attempt began must leave room for at least one more token each."""
    choices = [resumed.choice for resumed in submit.resumed]
    if len(set(choices)) < len(choices) or _beyond(choices, submit.n):
        return _invalid("resumed", f"each resumed choice must be named once and be below n, {submit.n}")
    for resumed in submit.resumed:
        if _beyond(resumed.token_ids, facts.vocab_size):
            return _invalid("resumed", f"token ids must be below {facts.vocab_size}")
        length = len(resumed.token_ids) + (0 if resumed.finished else 1)
        if length > submit.max_tokens:
            return _invalid("resumed", f"a resumed choice has no token left of max_tokens, {submit.max_tokens}")
        if length > max_tokens:
            message = f"prompt and resumed tokens leave no room in {facts.context_length} tokens of context"
            return Refused(pb.REFUSAL_CODE_TOO_LONG, message, "resumed")
    return None


def _beyond(values: Sequence[int], limit: int) -> bool:
    return bool(values) and max(values) >= limit


def _invalid(field: str, message: str) -> Refused:
    return Refused(pb.REFUSAL_CODE_INVALID, message, field)


def _unsupported(field: str, message: str) -> Refused:
    return Refused(pb.REFUSAL_CODE_UNSUPPORTED, message, field)

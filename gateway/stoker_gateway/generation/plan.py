"""What one prompt asks of a worker: pure, with the seed and the model's facts as arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2b
from typing import TypeVar

from stoker_gateway.api.common import CommonFields
from stoker_gateway.errors import ContextLengthExceeded, InvalidRequest

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's, for completions; a chat may fill the context
SMALLEST_TOP_P = 1e-6  # OpenAI takes 0: only the most probable token is left
SEED_MASK = 2**64 - 1

T = TypeVar("T")


class LogprobsShape(Enum):
    """`logprobs: true` asks for the newer shape, `logprobs: 5` for the older one, on both endpoints (as Fireworks has it)."""

    NONE = auto()
    CONTENT = auto()  # {"content": [{"token", "logprob", "bytes", "top_logprobs"}]}
    LEGACY = auto()  # {"tokens", "token_logprobs", "top_logprobs", "text_offset"}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; every field is set. Zero `temperature` is greedy, zero `top_k` is off."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0  # 64 bits


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a plan must know of the model."""

    context_length: int
    vocab_size: int
    max_logprobs: int
    stop_token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One prompt's request, complete. `hide_output`: one token is made, because a worker makes at least one, and dropped."""

    prompt_ids: list[int]
    sampling: Sampling
    max_tokens: int
    n: int = 1
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    ignore_eos: bool = False
    logprobs: LogprobsShape = LogprobsShape.NONE
    top_logprobs: int = 0
    echo: bool = False
    hide_output: bool = False
    final_only: bool = False
    cache_salt: bytes = b""

    @property
    def prompt_logprobs(self) -> bool:
        """The prompt's own logprobs are part of the answer."""
        return self.echo and self.logprobs is not LogprobsShape.NONE


def cache_salt(secret: bytes, account: str, isolation_key: str) -> bytes:
    """Prefix caches are shared only between requests with equal salts: within an account and its isolation key.

    `secret` has 64 bytes at most.
    """
    return blake2b(f"{account}\0{isolation_key}".encode(), key=secret, digest_size=16).digest()


def plan(
    request: CommonFields, prompt_ids: list[int], facts: ModelFacts, *, seed: int, salt: bytes, param: str
) -> Plan:
    """Decide everything about one prompt.

    seed   64 random bits, used where the request has no seed of its own
    param  the request's field that the prompt came from, for errors
    Raises ContextLengthExceeded, InvalidRequest.
    """
    _check_prompt(prompt_ids, facts, param)
    stops = _stop_strings(request)
    shape, top = _logprobs(request, facts)
    max_tokens = _max_tokens(request, len(prompt_ids), facts, param)
    return Plan(
        prompt_ids=prompt_ids,
        sampling=_sampling(request, facts, seed),
        max_tokens=max_tokens,
        n=request.n or 1,
        min_tokens=min(request.min_tokens or 0, max_tokens),
        stop_token_ids=facts.stop_token_ids,
        stop_strings=stops,
        ignore_eos=bool(request.ignore_eos),
        logprobs=shape,
        top_logprobs=top,
        echo=bool(request.echo),
        hide_output=request.max_tokens == 0,
        # A stop string is found here, so the worker must be heard while it generates.
        final_only=not request.stream and not stops,
        cache_salt=salt,
    )


def _check_prompt(prompt_ids: Sequence[int], facts: ModelFacts, param: str) -> None:
    if not prompt_ids:
        raise InvalidRequest("The prompt is empty. Send at least one token.", param=param, code="empty_prompt")
    if len(prompt_ids) >= facts.context_length:
        raise ContextLengthExceeded(
            f"This model's maximum context length is {facts.context_length} tokens, but the prompt has "
            f"{len(prompt_ids)}. Shorten it so that there is room for an answer.",
            param=param,
        )
    if max(prompt_ids) >= facts.vocab_size:
        raise InvalidRequest(
            f"A token id is out of range: this model's ids end at {facts.vocab_size - 1}.", param=param
        )


def _max_tokens(request: CommonFields, prompt_tokens: int, facts: ModelFacts, param: str) -> int:
    """Tokens that one choice may have: what was asked, cut to what fits (as Fireworks does) unless that is an error."""
    room = facts.context_length - prompt_tokens
    asked = request.max_tokens if request.max_tokens is not None else request.max_completion_tokens
    if asked is None:
        return room if param == "messages" else min(DEFAULT_COMPLETION_TOKENS, room)
    if asked > room and request.context_length_exceeded_behavior == "error":
        raise ContextLengthExceeded(
            f"The prompt has {prompt_tokens} tokens and 'max_tokens' asks for {asked}: together more than this model's "
            f"context of {facts.context_length}. Ask for at most {room}.",
            param="max_tokens",
        )
    return max(1, min(asked, room))


def _stop_strings(request: CommonFields) -> tuple[str, ...]:
    if request.stop is None:
        return ()
    return (request.stop,) if isinstance(request.stop, str) else tuple(request.stop)


def _logprobs(request: CommonFields, facts: ModelFacts) -> tuple[LogprobsShape, int]:
    if request.logprobs is None or request.logprobs is False:
        return LogprobsShape.NONE, 0
    shape = LogprobsShape.CONTENT if request.logprobs is True else LogprobsShape.LEGACY
    top = request.top_logprobs or 0 if request.logprobs is True else int(request.logprobs)
    if top > facts.max_logprobs:
        param = "top_logprobs" if request.logprobs is True else "logprobs"
        raise InvalidRequest(f"This model gives at most {facts.max_logprobs} alternatives per token.", param=param)
    return shape, top


def _sampling(request: CommonFields, facts: ModelFacts, seed: int) -> Sampling:
    return Sampling(
        temperature=_or(request.temperature, 1.0),
        top_k=max(0, _or(request.top_k, 0)),
        top_p=max(SMALLEST_TOP_P, _or(request.top_p, 1.0)),
        min_p=_or(request.min_p, 0.0),
        repetition_penalty=_or(request.repetition_penalty, 1.0),
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        logit_bias=_logit_bias(request.logit_bias or {}, facts),
        seed=_or(request.seed, seed) & SEED_MASK,
    )


def _logit_bias(given: dict[str, float], facts: ModelFacts) -> tuple[tuple[int, float], ...]:
    biases = {}
    for key, bias in given.items():
        if not (key.isascii() and key.isdigit() and len(key) < 10 and int(key) < facts.vocab_size):
            raise InvalidRequest(
                f"Keys of 'logit_bias' are token ids from 0 to {facts.vocab_size - 1}, as strings.", param="logit_bias"
            )
        biases[int(key)] = bias
    return tuple(biases.items())


def _or(value: T | None, default: T) -> T:
    return default if value is None else value

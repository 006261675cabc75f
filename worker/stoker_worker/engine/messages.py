"""What the gRPC front and the engine process say to each other: msgpack over a local socket.

The front names requests by a key of its own; streams, handles and gateways are unknown to the engine.
"""

from enum import IntEnum

import msgspec

from stoker_worker.sampling.params import LogprobsParams, SamplingParams


class FinishReason(IntEnum):
    """Why a choice stopped; the numbers are the wire's."""

    NOT_FINISHED = 0
    STOP = 1
    LENGTH = 2


class EndReason(IntEnum):
    """Why a request ended; the numbers are the wire's."""

    FINISHED = 1
    ABORTED = 2
    DEADLINE = 3
    ENGINE_DIED = 4
    DRAINED = 5
    FAILED = 6


# ------------------------------------------------------------------------------------------- to the engine


class Resumed(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one choice that an earlier attempt delivered."""

    choice: int
    token_ids: list[int]
    finished: bool = False


class SubmitRequest(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """A request that the front has admitted. `max_tokens` already fits the context."""

    key: int
    request_id: str
    prompt: list[int]
    sampling: SamplingParams
    max_tokens: int
    n: int = 1
    min_tokens: int = 0
    stop_token_ids: list[int] = []
    ignore_eos: bool = False
    logprobs: LogprobsParams = LogprobsParams()
    priority: int = 0
    time_left_ms: int = 0
    cache_salt: bytes = b""
    adapter_digest: bytes = b""
    resumed: list[Resumed] = []
    traceparent: str = ""


class AbortRequest(msgspec.Struct, frozen=True, array_like=True, tag="abort"):
    """End a request at once; unknown keys are ignored. Answered by an `EndedRequest`, unless already ended."""

    key: int


class Shutdown(msgspec.Struct, frozen=True, array_like=True, tag="shutdown"):
    """End the process after the current step."""


ToEngine = SubmitRequest | AbortRequest | Shutdown


# ----------------------------------------------------------------------------------------- from the engine


class EngineReady(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Sent once: the model is loaded, warmed up, and KV blocks are allocated."""

    vocab_size: int
    context_length: int
    precision: str
    block_size: int
    total_blocks: int
    load_s: float


class LoadProgress(msgspec.Struct, frozen=True, array_like=True, tag="progress"):
    """While loading: how far, in bytes of weights."""

    done_bytes: int
    total_bytes: int


class EngineFailed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """The last message of an engine that cannot go on. `fatal`: a restart would fail alike (a broken model file)."""

    message: str
    fatal: bool


class TopLogprobs(msgspec.Struct, frozen=True, array_like=True):
    """Logprobs of `count` positions and of the `top` best alternatives at each, flattened."""

    logprobs: list[float]
    top: int
    top_token_ids: list[int]
    top_logprobs: list[float]


class RequestCounters(msgspec.Struct, frozen=True, array_like=True):
    """Cumulative figures of one request, all choices together (see Counters in worker.proto)."""

    key: int
    prompt: int
    cached: int
    completion: int
    queue_us: int
    prefill_us: int
    decode_us: int


class EndedRequest(msgspec.Struct, frozen=True, array_like=True):
    """The engine's last word on a request."""

    key: int
    reason: int  # EndReason
    message: str = ""


class Load(msgspec.Struct, frozen=True, array_like=True):
    """The engine's load after a step."""

    running: int
    waiting: int
    free_blocks: int
    total_blocks: int
    step_us: int


class StepReport(msgspec.Struct, frozen=True, array_like=True, tag="step"):
    """What one step brought: parallel lists, one entry per (request, choice) with new tokens.

    logprobs         index of the entry → its logprobs, for requests that asked
    prompt_logprobs  key → logprobs of prompt positions 1 …, once, when the prompt is computed
    """

    keys: list[int]
    choices: list[int]
    counts: list[int]
    token_ids: list[int]
    finish: list[int]
    counters: list[RequestCounters]
    ended: list[EndedRequest]
    load: Load
    logprobs: dict[int, TopLogprobs] = {}
    prompt_logprobs: dict[int, TopLogprobs] = {}


FromEngine = EngineReady | LoadProgress | EngineFailed | StepReport

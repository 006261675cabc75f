"""Fields that chat and completions requests share. `None` and absence mean the same: the default."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stoker_core.names import MAX_TOP_LOGPROBS

MAX_STOPS = 16
MAX_STOP_CHARS = 1024
MAX_CHOICES = 128
MAX_LOGIT_BIASES = 1024

Stop = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_CHARS)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Tokens = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Probability = Annotated[float, Meta(ge=0, le=1)]


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """OpenAI's `stream_options`. `include_obfuscation` has no effect."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CommonFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What both endpoints honour; then what has no effect, and what is refused while it is not built (see `fields`)."""

    model: Annotated[str, Meta(min_length=1, max_length=512)]
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    max_completion_tokens: Tokens | None = None
    min_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Probability | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=MAX_LOGIT_BIASES)] | None = None
    seed: int | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    echo: bool | None = None
    ignore_eos: bool | None = None
    context_length_exceeded_behavior: Literal["error", "truncate"] | None = None
    prompt_cache_isolation_key: Annotated[str, Meta(max_length=1024)] | None = None

    metadata: Any | UnsetType = UNSET
    prediction: Any | UnsetType = UNSET
    prompt_cache_key: Any | UnsetType = UNSET
    prompt_cache_options: Any | UnsetType = UNSET
    prompt_cache_retention: Any | UnsetType = UNSET
    reasoning_history: Any | UnsetType = UNSET
    safety_identifier: Any | UnsetType = UNSET
    service_tier: Any | UnsetType = UNSET
    speculation: Any | UnsetType = UNSET
    store: Any | UnsetType = UNSET
    user: Any | UnsetType = UNSET
    verbosity: Any | UnsetType = UNSET

    audio: Any | UnsetType = UNSET
    echo_last: Any | UnsetType = UNSET
    images: Any | UnsetType = UNSET
    mirostat_lr: Any | UnsetType = UNSET
    mirostat_target: Any | UnsetType = UNSET
    moderation: Any | UnsetType = UNSET
    perf_metrics_in_response: Any | UnsetType = UNSET
    raw_output: Any | UnsetType = UNSET
    reasoning_effort: Any | UnsetType = UNSET
    response_format: Any | UnsetType = UNSET
    return_token_ids: Any | UnsetType = UNSET
    thinking: Any | UnsetType = UNSET
    typical_p: Any | UnsetType = UNSET

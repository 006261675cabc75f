"""Request fields that do nothing here: accepted without effect, or refused while what they ask for is not built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from stoker_gateway.api.common import CommonFields
from stoker_gateway.errors import InvalidRequest

UNSUPPORTED = "unsupported_parameter"

# Hints, storage and routing wishes: an answer without them is a correct answer. Named in the response's header.
NO_EFFECT = (
    "metadata",
    "parallel_tool_calls",  # without tools there are no calls
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_history",
    "safe_tokenization",  # special tokens inside messages are always encoded as text
    "safety_identifier",
    "service_tier",
    "speculation",
    "store",
    "user",
    "verbosity",
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A field that is refused unless `is_off` says that its value asks for nothing."""

    is_off: Callable[[Any], bool]
    reason: str


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value is None or any(value == off and type(value) is type(off) for off in values)


REFUSED: dict[str, Refusal] = {
    "audio": Refusal(_one_of(), "Audio output is not supported; leave 'audio' out."),
    "echo_last": Refusal(_one_of(0), "'echo_last' is not supported; use 'echo' on completions."),
    "function_call": Refusal(_one_of("none", "auto"), "Function calling is not supported yet; leave it out."),
    "functions": Refusal(_one_of([]), "Function calling is not supported yet; leave 'functions' out."),
    "images": Refusal(_one_of([]), "Images are not supported by this model; leave 'images' out."),
    "mirostat_lr": Refusal(_one_of(), "Mirostat sampling is not supported; use 'temperature' and 'top_p'."),
    "mirostat_target": Refusal(_one_of(), "Mirostat sampling is not supported; use 'temperature' and 'top_p'."),
    "modalities": Refusal(_one_of(["text"]), "Only text can be answered; set 'modalities' to [\"text\"]."),
    "moderation": Refusal(_one_of(), "Moderation is not supported; leave 'moderation' out."),
    "perf_metrics_in_response": Refusal(_one_of(False), "'perf_metrics_in_response' is not supported yet."),
    "prompt_truncate_len": Refusal(_one_of(), "Prompts are never cut; send a shorter prompt."),
    "raw_output": Refusal(_one_of(False), "'raw_output' is not supported yet."),
    "reasoning_effort": Refusal(
        _one_of("none", False), "This model does not reason; set 'reasoning_effort' to 'none'."
    ),
    "response_format": Refusal(
        _one_of({"type": "text"}), 'Structured output is not supported yet; only {"type": "text"} is.'
    ),
    "return_token_ids": Refusal(_one_of(False), "'return_token_ids' is not supported yet."),
    "suffix": Refusal(_one_of(""), "This model cannot insert before a suffix; leave 'suffix' out."),
    "thinking": Refusal(_one_of({"type": "disabled"}), "This model does not reason; leave 'thinking' out."),
    "tool_choice": Refusal(_one_of("none", "auto"), "Tool calling is not supported yet; set 'tool_choice' to 'none'."),
    "tools": Refusal(_one_of([]), "Tool calling is not supported yet; leave 'tools' out."),
    "typical_p": Refusal(_one_of(1, 1.0), "Typical sampling is not supported; use 'top_p'."),
    "web_search_options": Refusal(_one_of(), "Web search is not supported; leave 'web_search_options' out."),
}


def refuse_unsupported(request: CommonFields) -> None:
    """Raises InvalidRequest for the first field that asks for something that is not built."""
    for name, refusal in REFUSED.items():
        value = getattr(request, name, UNSET)
        if value is not UNSET and not refusal.is_off(value):
            raise InvalidRequest(refusal.reason, param=name, code=UNSUPPORTED)


def without_effect(request: CommonFields) -> list[str]:
    """Names of the fields that were given and change nothing."""
    return [name for name in NO_EFFECT if getattr(request, name, None) not in (UNSET, None)]

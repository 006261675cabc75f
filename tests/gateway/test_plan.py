"""What a request becomes for a worker."""

from typing import Any

import msgspec
import pytest

from stoker_gateway.api.chat import ChatRequest
from stoker_gateway.errors import ContextLengthExceeded, InvalidRequest
from stoker_gateway.generation.plan import LogprobsShape, ModelFacts, Plan, Sampling, cache_salt, plan

FACTS = ModelFacts(context_length=100, vocab_size=1000, max_logprobs=5, stop_token_ids=(2,))


def planned(prompt_tokens: int = 10, *, param: str = "messages", **fields: Any) -> Plan:
    request = msgspec.convert({"model": "m", "messages": [{"role": "user", "content": "a"}], **fields}, ChatRequest)
    return plan(request, [7] * prompt_tokens, FACTS, seed=42, salt=b"s", param=param)


def test_nothing_asked_is_openais_defaults_with_the_gateways_seed() -> None:
    made = planned()
    assert made.sampling == Sampling(temperature=1.0, top_p=1.0, seed=42)
    assert (made.max_tokens, made.n, made.stop_token_ids, made.cache_salt) == (90, 1, (2,), b"s")
    assert made.final_only
    assert made.logprobs is LogprobsShape.NONE


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 5}, "max_tokens", 5),
        ({"max_tokens": 1_000_000}, "max_tokens", 90),
        ({"max_tokens": 5, "min_tokens": 9}, "min_tokens", 5),
        ({"param": "prompt"}, "max_tokens", 16),
        ({"param": "prompt", "prompt_tokens": 95}, "max_tokens", 5),
        ({"n": 3}, "n", 3),
        ({"stop": "a"}, "stop_strings", ("a",)),
        ({"stop": ["a", "b"]}, "stop_strings", ("a", "b")),
        ({"stop": ["a"]}, "final_only", False),
        ({"stream": True}, "final_only", False),
        ({"ignore_eos": True}, "ignore_eos", True),
        ({"logprobs": True}, "logprobs", LogprobsShape.CONTENT),
        ({"logprobs": True, "top_logprobs": 5}, "top_logprobs", 5),
        ({"logprobs": 0}, "logprobs", LogprobsShape.LEGACY),
        ({"logprobs": 5}, "top_logprobs", 5),
        ({"logprobs": False}, "logprobs", LogprobsShape.NONE),
        ({"temperature": 0}, "sampling", Sampling(temperature=0, seed=42)),
        ({"top_p": 0}, "sampling", Sampling(top_p=1e-6, seed=42)),
        ({"top_k": -1}, "sampling", Sampling(top_k=0, seed=42)),
        ({"seed": 0}, "sampling", Sampling(seed=0)),
        ({"seed": -1}, "sampling", Sampling(seed=2**64 - 1)),
        ({"logit_bias": {"5": -100, "6": 1}}, "sampling", Sampling(logit_bias=((5, -100.0), (6, 1.0)), seed=42)),
    ],
)
def test_fields_become(fields: Any, attribute: str, value: object) -> None:
    assert getattr(planned(**fields), attribute) == value


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"prompt_tokens": 0}, InvalidRequest, "messages"),
        ({"prompt_tokens": 100}, ContextLengthExceeded, "messages"),
        (
            {"prompt_tokens": 99, "max_tokens": 2, "context_length_exceeded_behavior": "error"},
            ContextLengthExceeded,
            "max_tokens",
        ),
        ({"logprobs": 6}, InvalidRequest, "logprobs"),
        ({"logprobs": True, "top_logprobs": 6}, InvalidRequest, "top_logprobs"),
        ({"logit_bias": {"1000": 1}}, InvalidRequest, "logit_bias"),
        ({"logit_bias": {"²": 1}}, InvalidRequest, "logit_bias"),
    ],
)
def test_what_the_model_cannot_do_is_refused(fields: Any, error: type[InvalidRequest], param: str) -> None:
    with pytest.raises(error) as caught:
        planned(**fields)
    assert caught.value.param == param


def test_salts_differ_by_secret_account_and_isolation_key() -> None:
    salts = [
        cache_salt(b"s", "a", ""),
        cache_salt(b"t", "a", ""),
        cache_salt(b"s", "b", ""),
        cache_salt(b"s", "a", "k"),
    ]
    assert len(set(salts)) == 4
    assert salts[0] == cache_salt(b"s", "a", "")

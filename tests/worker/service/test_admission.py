"""What is taken and what is not: one row per rule, each a change to a request that is fine."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.service.admission import Accepted, EngineFacts, Refused, admit
from stoker_worker.service.submit import to_engine

Submit = Callable[..., pb.Submit]
NAN, INF = float("nan"), float("inf")
FACTS = EngineFacts(
    model="accounts/local/models/fake@0123456789ab",
    ready=True,
    draining=False,
    context_length=64,
    vocab_size=1000,
    open_requests=3,
    max_queue=4,
)


def sampling(**fields: Any) -> pb.Sampling:
    return pb.Sampling(**{"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0, **fields})


def resumed(*choices: tuple[int, list[int], bool]) -> list[pb.ResumedChoice]:
    return [pb.ResumedChoice(choice=choice, token_ids=ids, finished=finished) for choice, ids, finished in choices]


@pytest.mark.parametrize(
    ("change", "max_tokens"),
    [
        pytest.param({}, 5, id="an ordinary request"),
        pytest.param({"max_tokens": 100_000}, 61, id="max_tokens is cut to what fits the context"),
        pytest.param({"token_ids": [1] * 63, "max_tokens": 9}, 1, id="one token of output fits"),
        pytest.param({"token_ids": [999]}, 5, id="the last token of the vocabulary"),
        pytest.param({"n": 128}, 5, id="128 choices"),
        pytest.param({"sampling": sampling(temperature=0.0, top_p=0.0, min_p=1.0, top_k=2**32 - 1)}, 5, id="extremes"),
        pytest.param({"sampling": sampling(presence_penalty=-50, frequency_penalty=50)}, 5, id="large penalties"),
        pytest.param({"logprobs": pb.LogprobsRequest(output=True, output_top=20, prompt_top=20)}, 5, id="20 logprobs"),
        pytest.param({"min_tokens": 5}, 5, id="min_tokens equal to max_tokens"),
        pytest.param({"draft_token_ids": [5, 6]}, 5, id="a prediction that this worker does not use"),
        pytest.param(
            {"n": 2, "resumed": resumed((1, [1, 2, 3, 4], False))}, 5, id="a choice resumed before its last token"
        ),
        pytest.param({"resumed": resumed((0, [1] * 5, True))}, 5, id="a choice that was finished by its length"),
        pytest.param({"time_left_ms": 2**32 - 1, "priority": -7}, 5, id="any deadline and priority"),
    ],
)
def test_accepted(submit: Submit, change: dict[str, Any], max_tokens: int) -> None:
    assert admit(submit(**change), FACTS) == Accepted(max_tokens)


def bad(field: str, change: dict[str, Any], *, case: str = "", code: int = pb.REFUSAL_CODE_INVALID) -> Any:
    return pytest.param(field, change, code, id=case or field)


@pytest.mark.parametrize(
    ("field", "change", "code"),
    [
        bad("task", {"task": pb.TASK_EMBED}, code=pb.REFUSAL_CODE_UNSUPPORTED),
        bad("task", {"task": pb.TASK_UNSPECIFIED}, case="no task", code=pb.REFUSAL_CODE_UNSUPPORTED),
        bad("media", {"media": [pb.MediaRef(digest=b"x")]}, code=pb.REFUSAL_CODE_UNSUPPORTED),
        bad("adapter_digest", {"adapter_digest": b"x"}, code=pb.REFUSAL_CODE_UNSUPPORTED),
        bad("grammar", {"grammar": pb.Grammar(kind=pb.Grammar.KIND_JSON)}, code=pb.REFUSAL_CODE_UNSUPPORTED),
        bad("token_ids", {"token_ids": []}, case="an empty prompt"),
        bad("token_ids", {"token_ids": [1, 1000]}, case="a token beyond the vocabulary"),
        bad("token_ids", {"token_ids": [1] * 64}, case="a prompt as long as the context", code=pb.REFUSAL_CODE_TOO_LONG),
        bad("request_id", {"request_id": "x" * 257}),
        bad("account", {"account": "x" * 257}),
        bad("traceparent", {"traceparent": "x" * 257}),
        bad("cache_salt", {"cache_salt": b"x" * 65}),
        bad("sampling", {"sampling": None}, case="no sampling"),
        bad("sampling.temperature", {"sampling": sampling(temperature=-0.1)}),
        bad("sampling.temperature", {"sampling": sampling(temperature=NAN)}, case="temperature is NaN"),
        bad("sampling.temperature", {"sampling": sampling(temperature=INF)}, case="temperature is infinite"),
        bad("sampling.top_p", {"sampling": sampling(top_p=1.1)}),
        bad("sampling.min_p", {"sampling": sampling(min_p=-0.1)}),
        bad("sampling.repetition_penalty", {"sampling": sampling(repetition_penalty=0.0)}),
        bad("sampling.presence_penalty", {"sampling": sampling(presence_penalty=NAN)}),
        bad("sampling.frequency_penalty", {"sampling": sampling(frequency_penalty=-INF)}),
        bad("sampling.logit_bias", {"sampling": sampling(logit_bias=[pb.LogitBias(token_id=1000)])}),
        bad("sampling.logit_bias", {"sampling": sampling(logit_bias=[pb.LogitBias(bias=INF)])}, case="infinite bias"),
        bad("sampling.logit_bias", {"sampling": sampling(logit_bias=[pb.LogitBias()] * 1025)}, case="1,025 biases"),
        bad("n", {"n": 0}),
        bad("n", {"n": 129}, case="129 choices"),
        bad("stop_token_ids", {"stop_token_ids": [1000]}),
        bad("stop_token_ids", {"stop_token_ids": [1] * 1025}, case="1,025 stop tokens"),
        bad("max_tokens", {"max_tokens": 0}),
        bad("min_tokens", {"min_tokens": 6}),
        bad("logprobs.output_top", {"logprobs": pb.LogprobsRequest(output=True, output_top=21)}),
        bad("logprobs.prompt_top", {"logprobs": pb.LogprobsRequest(prompt=True, prompt_top=21)}),
        bad("resumed", {"resumed": resumed((1, [1], False))}, case="a resumed choice beyond n"),
        bad("resumed", {"n": 3, "resumed": resumed((1, [], False), (1, [], False))}, case="a choice resumed twice"),
        bad("resumed", {"resumed": resumed((0, [1000], False))}, case="a resumed token beyond the vocabulary"),
        bad("resumed", {"resumed": resumed((0, [1] * 5, False))}, case="a resumed choice with no token left"),
        bad(
            "resumed",
            {"token_ids": [1] * 60, "max_tokens": 9, "resumed": resumed((0, [1] * 4, False))},
            case="resumed tokens that fill the context",
            code=pb.REFUSAL_CODE_TOO_LONG,
        ),
    ],
)  # fmt: skip
def test_refused_for_what_it_asks(submit: Submit, field: str, change: dict[str, Any], code: int) -> None:
    refused = admit(submit(**change), FACTS)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field, refused.retryable) == (code, field, False)
    assert refused.message


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        pytest.param({"model": "another@1"}, pb.REFUSAL_CODE_UNKNOWN_MODEL, id="another model"),
        pytest.param({"ready": False, "not_ready_why": "starting"}, pb.REFUSAL_CODE_ENGINE_DOWN, id="engine not ready"),
        pytest.param({"draining": True}, pb.REFUSAL_CODE_DRAINING, id="draining"),
        pytest.param({"draining": True, "ready": False}, pb.REFUSAL_CODE_DRAINING, id="draining without an engine"),
        pytest.param({"open_requests": 4}, pb.REFUSAL_CODE_QUEUE_FULL, id="queue full"),
    ],
)
def test_refused_for_the_moment_and_worth_a_retry(submit: Submit, facts: dict[str, Any], code: int) -> None:
    refused = admit(submit(), replace(FACTS, **facts))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.retryable) == (code, True)


def test_a_handle_in_use_is_refused(submit: Submit) -> None:
    refused = admit(submit(), FACTS, handle_in_use=True)
    assert isinstance(refused, Refused)
    assert (refused.code, refused.field, refused.retryable) == (pb.REFUSAL_CODE_INVALID, "handle", False)


def test_no_refusal_quotes_a_prompt(submit: Submit) -> None:
    refused = admit(submit(token_ids=[424242]), FACTS)
    assert isinstance(refused, Refused)
    assert "424242" not in refused.message


def test_everything_the_engine_needs_is_passed_on(submit: Submit) -> None:
    message = to_engine(
        submit(
            request_id="a",
            token_ids=[5, 6],
            sampling=sampling(top_k=3, seed=2**64 - 1, logit_bias=[pb.LogitBias(token_id=7, bias=-1.5)]),
            n=2,
            min_tokens=1,
            stop_token_ids=[9],
            ignore_eos=True,
            logprobs=pb.LogprobsRequest(output=True, output_top=2, prompt=True, prompt_top=3),
            priority=-1,
            time_left_ms=77,
            cache_salt=b"s",
            resumed=resumed((1, [4], True)),
            traceparent="00-a",
        ),
        key=12,
        max_tokens=3,
    )
    assert (message.key, message.request_id, message.prompt, message.max_tokens) == (12, "a", [5, 6], 3)
    assert (message.sampling.top_k, message.sampling.seed, message.sampling.logit_bias) == (3, 2**64 - 1, ((7, -1.5),))
    assert (message.n, message.min_tokens, message.stop_token_ids, message.ignore_eos) == (2, 1, [9], True)
    logprobs = message.logprobs
    assert (logprobs.output, logprobs.output_top, logprobs.prompt, logprobs.prompt_top) == (True, 2, True, 3)
    assert (message.priority, message.time_left_ms, message.cache_salt, message.traceparent) == (-1, 77, b"s", "00-a")
    assert [(part.choice, part.token_ids, part.finished) for part in message.resumed] == [(1, [4], True)]

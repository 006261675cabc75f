"""The engine's loop: the same request gives the same tokens whatever happens around it, and every end is told once."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker_worker.engine.messages import EndReason, FinishReason, Resumed, SubmitRequest
from stoker_worker.sampling.params import LogprobsParams, SamplingParams

MakeHarness = Callable[..., Any]
PROMPT = [random.Random(1).randrange(97) for _ in range(70)]


def request(
    key: int, prompt: list[int] | None = None, *, sampling: SamplingParams | None = None, **rest: Any
) -> SubmitRequest:
    rest.setdefault("max_tokens", 12)
    return SubmitRequest(key, f"r{key}", prompt or PROMPT, sampling or SamplingParams(seed=7), **rest)


def others(count: int) -> list[SubmitRequest]:
    rng = random.Random(2)
    return [
        request(100 + n, [rng.randrange(97) for _ in range(rng.randrange(1, 120))], sampling=SamplingParams(seed=n))
        for n in range(count)
    ]


def test_a_request_gives_the_same_tokens_alone_and_in_a_crowd(harness: MakeHarness) -> None:
    alone = harness().run(request(1))
    crowd = harness(sequences=8).run(*others(5), request(1), *others(0))
    assert crowd[1, 0] == alone[1, 0]


def test_a_request_gives_the_same_tokens_after_preemption(harness: MakeHarness) -> None:
    alone = harness().run(request(1, max_tokens=60))
    tight = harness(blocks=18, sequences=8)
    tight.run(*[request(50 + n, PROMPT[n:], max_tokens=60) for n in range(1, 4)], request(1, max_tokens=60))
    assert tight.engine._scheduler.num_preemptions > 0
    assert tight.outputs[1, 0] == alone[1, 0]


@pytest.mark.parametrize("prefix_cache", [True, False])
def test_a_request_gives_the_same_tokens_with_and_without_prefix_hits(harness: MakeHarness, prefix_cache: bool) -> None:
    twice = harness(prefix_cache=prefix_cache)
    first = twice.run(request(1))[1, 0]
    again = twice.run(request(2))[2, 0]
    assert again == first
    assert twice.reports[-1].counters[0].cached == (64 if prefix_cache else 0)


def test_a_resumed_request_goes_on_with_the_same_tokens(harness: MakeHarness) -> None:
    sampling = SamplingParams(seed=3, frequency_penalty=0.5, repetition_penalty=1.2)
    whole = harness().run(request(1, sampling=sampling, n=2, max_tokens=20))
    resumed = [Resumed(0, whole[1, 0][:9]), Resumed(1, whole[1, 1][:2])]
    rest = harness().run(request(2, sampling=sampling, n=2, max_tokens=20, resumed=resumed))
    assert whole[1, 0][:9] + rest[2, 0] == whole[1, 0]
    assert whole[1, 1][:2] + rest[2, 1] == whole[1, 1]


def test_a_finished_choice_is_not_resumed(harness: MakeHarness) -> None:
    outputs = harness().run(request(1, n=2, resumed=[Resumed(0, [5], finished=True)]))
    assert list(outputs) == [(1, 1)]


def test_choices_differ_and_share_the_prompts_blocks(harness: MakeHarness) -> None:
    many = harness(prefix_cache=False)
    outputs = many.run(request(1, n=4))
    assert len({tuple(tokens) for tokens in outputs.values()}) == 4
    prompt_tokens = sum(plan.tokens for plan in many.device.steps) - sum(map(len, outputs.values())) + 4
    assert prompt_tokens == 70 + 3 * 6  # the others compute only the prompt's last, partial block


def test_counters_tell_prompt_cached_and_completion_tokens(harness: MakeHarness) -> None:
    run = harness()
    run.run(request(1, n=2, max_tokens=5))
    last = [report for report in run.reports if report.counters][-1].counters[0]
    assert (last.key, last.prompt, last.cached, last.completion) == (1, 70, 0, 10)
    assert last.queue_us > 0
    assert last.prefill_us > 0
    assert last.decode_us > 0


@pytest.mark.parametrize(
    ("options", "length", "finish"),
    [
        ({}, 4, FinishReason.STOP),
        ({"ignore_eos": True}, 12, FinishReason.LENGTH),
        ({"max_tokens": 3}, 3, FinishReason.LENGTH),
        ({"max_tokens": 1}, 1, FinishReason.LENGTH),
    ],
)
def test_when_a_choice_ends(harness: MakeHarness, options: dict[str, Any], length: int, finish: FinishReason) -> None:
    stop = harness().run(request(1))[1, 0][3]
    run = harness()
    outputs = run.run(request(1, **{"stop_token_ids": [stop], **options}))
    assert len(outputs[1, 0]) == length
    assert run.finish[1, 0] == finish
    assert run.ended == {1: EndReason.FINISHED}


def test_a_stop_token_is_not_drawn_before_min_tokens(harness: MakeHarness) -> None:
    stop = harness().run(request(1))[1, 0][3]
    outputs = harness().run(request(1, stop_token_ids=[stop], min_tokens=8))
    assert stop not in outputs[1, 0][:8]


def test_an_abort_frees_the_blocks_before_the_next_step(harness: MakeHarness) -> None:
    run = harness()
    run.engine.submit(request(1, max_tokens=100))
    run.step()
    run.engine.abort(1)
    run.engine.abort(1)
    run.engine.abort(999)
    assert run.pool.num_free == run.pool.num_blocks
    run.run()
    assert run.ended == {1: EndReason.ABORTED}


def test_a_request_whose_time_is_up_ends_in_queue_and_in_flight(harness: MakeHarness) -> None:
    run = harness(sequences=1)
    run.run(request(1, max_tokens=200, time_left_ms=50), request(2, max_tokens=200, time_left_ms=20))
    assert run.ended == {1: EndReason.DEADLINE, 2: EndReason.DEADLINE}
    assert (2, 0) not in run.outputs


def test_a_model_that_outputs_no_numbers_fails_its_request_and_the_engine_goes_on(harness: MakeHarness) -> None:
    run = harness()
    run.device.nan_after = 3
    run.run(request(1, n=3))
    assert run.ended == {1: EndReason.FAILED}
    run.device.nan_after = None
    run.run(request(2))
    assert run.ended[2] == EndReason.FINISHED


def test_logprobs_come_with_their_tokens(harness: MakeHarness) -> None:
    run = harness()
    greedy = SamplingParams(temperature=0.0, logit_bias=((3, 50.0),))
    run.run(request(1, sampling=greedy, logprobs=LogprobsParams(output=True, output_top=2), max_tokens=3))
    for report in run.reports:
        for entry, logprobs in report.logprobs.items():
            assert report.token_ids[entry] == 3
            assert len(logprobs.top_token_ids) == 2
            assert logprobs.logprobs[0] <= logprobs.top_logprobs[0], "logprobs are the model's own, before the bias"
    assert sum(len(report.logprobs) for report in run.reports) == 3


@pytest.mark.parametrize("length", [2, 16, 17, 70, 150])
def test_prompt_logprobs_cover_the_prompt_once(harness: MakeHarness, length: int) -> None:
    prompt = (PROMPT * 3)[:length]
    plain = harness().run(request(1, prompt, n=2))
    run = harness(tokens=40)
    run.run(request(9, prompt))  # the second request could find the prompt in the cache, and must not
    run.run(request(1, prompt, n=2, logprobs=LogprobsParams(prompt=True, prompt_top=1)))
    told = [report.prompt_logprobs[1] for report in run.reports if 1 in report.prompt_logprobs]
    assert len(told) == 1
    assert len(told[0].logprobs) == len(told[0].top_token_ids) == length - 1
    assert {choice: run.outputs[1, choice] for choice in (0, 1)} == {choice: plain[1, choice] for choice in (0, 1)}


def test_decodes_go_on_while_a_long_prompt_is_computed(harness: MakeHarness) -> None:
    run = harness(tokens=64)
    run.engine.submit(request(1, PROMPT[:5], max_tokens=80))
    run.step()
    run.engine.submit(request(2, (PROMPT * 7)[:480], max_tokens=1))
    while 2 not in run.ended:
        report = run.step()
        assert 1 in report.keys


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_traffic_ends_every_request_once_with_the_tokens_it_would_have_had_alone(
    data: st.DataObject, harness: MakeHarness
) -> None:
    run = harness(blocks=data.draw(st.integers(14, 40)), sequences=data.draw(st.integers(1, 6)), tokens=64)
    submitted: dict[int, SubmitRequest] = {}
    aborted = set()
    for key in range(data.draw(st.integers(1, 12))):
        start = data.draw(st.integers(0, 3))
        message = request(
            key,
            PROMPT[start : start + data.draw(st.integers(1, 66))],
            n=data.draw(st.integers(1, 3)),
            max_tokens=data.draw(st.integers(1, 30)),
            priority=data.draw(st.integers(-1, 1)),
            sampling=SamplingParams(seed=key % 3, temperature=data.draw(st.sampled_from([0.0, 1.0]))),
            logprobs=LogprobsParams(prompt=data.draw(st.booleans())),
        )
        submitted[key] = message
        run.engine.submit(message)
        for _ in range(data.draw(st.integers(0, 6))):
            run.step()
        if data.draw(st.integers(0, 4)) == 0:
            victim = data.draw(st.sampled_from(sorted(submitted)))
            if victim not in run.ended:
                run.engine.abort(victim)
                aborted.add(victim)
    run.run()
    assert set(run.ended) == set(submitted)
    for key, message in submitted.items():
        if run.ended[key] == EndReason.FINISHED:
            alone = harness().run(message)
            assert {k: v for k, v in run.outputs.items() if k[0] == key} == alone
        else:
            assert key in aborted

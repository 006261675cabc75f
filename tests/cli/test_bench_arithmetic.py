"""From timed requests to the figures in a table."""

import random

import numpy as np
import pytest

from stoker_cli.bench.prompts import TOKEN_IDS, Calibration, PromptKind, PromptMaker
from stoker_cli.bench.results import CountedBy, Spread, Timing, quantile, summarise
from stoker_cli.bench.stream import StreamReader


@pytest.mark.parametrize("q", [0, 0.5, 0.9, 0.99, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_quantiles_are_numpys(count, q):
    values = sorted(random.Random(count).random() for _ in range(count))
    assert quantile(values, q) == pytest.approx(np.quantile(values, q))


def test_a_measure_without_values_is_zero():
    assert Spread.of([]) == Spread(0, 0, 0, 0)


def test_a_level_counts_what_was_answered_and_names_what_was_not():
    timings = [
        Timing(10.0, 12.0, (10.5, 11.0, 12.0), 100, 30, CountedBy.USAGE),
        Timing(10.0, 14.0, (11.5, 13.5, 14.0), 200, 50, CountedBy.USAGE),
        Timing(12.0, 12.1, error="HTTP 429: full"),
    ]
    level = summarise("c=2", timings, client_cpu_s=0.4)
    assert (level.requests, level.errors, level.wall_s) == (3, {"HTTP 429: full": 1}, 4.0)
    assert (level.output_tokens, level.output_tokens_per_s, level.requests_per_s) == (80, 20.0, 0.5)
    assert level.input_tokens_mean == 150
    assert level.ttft.p50 == pytest.approx(1.0)
    assert level.itl.p50 == pytest.approx(0.75)
    assert level.end_to_end.mean == pytest.approx(3.0)
    assert level.client_cpu_share == pytest.approx(0.1)
    assert level.counted_by == {"usage": 2}


def test_a_level_in_which_nothing_was_sent_is_all_zeros():
    level = summarise("c=1", [], 0.0)
    assert (level.output_tokens_per_s, level.requests_per_s, level.input_tokens_mean) == (0.0, 0.0, None)


TEXT = b'data: {"choices":[{"text":"a"}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
CHAT = b'data: {"choices":[{"delta":{"content":"b"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
LIMIT = b'data: {"choices":[{"text":"","finish_reason":"length"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("stream", "pieces", "tokens"),
    [
        (TEXT + TEXT + USAGE + DONE, 2, (7, CountedBy.USAGE)),
        (ROLE + CHAT + DONE, 1, (1, CountedBy.CHUNKS)),
        (TEXT + LIMIT + DONE, 1, (9, CountedBy.LIMIT)),
        (b": comment\n\n" + DONE, 0, (0, CountedBy.CHUNKS)),
    ],
)
def test_a_stream_is_read_alike_however_it_is_cut(stream, pieces, tokens):
    for size in (1, 7, len(stream)):
        reader = StreamReader()
        for start in range(0, len(stream), size):
            reader.feed(stream[start : start + size], float(start))
        assert (len(reader.pieces), reader.output_tokens(9), reader.error) == (pieces, tokens, "")


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b'data: {"error":{"message":"gone"}}\n', "gone"),
        (b'data: {"error":"gone"}\n', "gone"),
        (b"data: {nonsense\n", "an event that is no completion chunk"),
    ],
)
def test_an_error_inside_a_stream_is_noticed(event, error):
    reader = StreamReader()
    reader.feed(event, 0.0)
    assert reader.error == error


@pytest.mark.parametrize("kind", PromptKind)
def test_prompts_repeat_over_runs_and_never_within_one(kind):
    maker = PromptMaker(kind, 128, seed=3)
    assert [maker.make(i) for i in range(50)] == [PromptMaker(kind, 128, seed=3).make(i) for i in range(50)]
    assert len({str(maker.make(i))[:60] for i in range(50)}) == 50
    assert maker.make(0) != PromptMaker(kind, 128, seed=4).make(0)


def test_token_prompts_have_the_length_asked_for_and_share_only_what_was_asked_for():
    maker = PromptMaker(PromptKind.TOKENS, 128, shared_tokens=32)
    first, second = maker.make(0), maker.make(1)
    assert (len(first), first[:32] == second[:32], first[32:48] == second[32:48]) == (128, True, False)
    assert set(first) <= set(TOKEN_IDS)


@pytest.mark.parametrize(
    ("first", "second", "tokens", "words"),
    [
        ((16, 16), (80, 80), 128, 128),  # a word is a token
        ((16, 46), (80, 110), 128, 98),  # a template of 30 tokens around it
        ((16, 32), (80, 160), 128, 64),  # a word is two tokens
        ((16, 46), (80, 110), 10, 1),  # the template alone is longer
        ((16, 50), (80, 50), 128, 128),  # a server that counts nothing is not believed
    ],
)
def test_text_lengths_follow_what_two_probes_cost(first, second, tokens, words):
    assert Calibration.through(first, second).words(tokens) == words

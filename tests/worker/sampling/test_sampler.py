"""A row's token follows from its logits, parameters and key alone, with the distribution that the parameters ask for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_worker.sampling.edits import LogitEdits
from stoker_worker.sampling.logprobs import logprobs_of
from stoker_worker.sampling.noise import gumbel, token_hashes
from stoker_worker.sampling.params import SamplingParams
from stoker_worker.sampling.sampler import Sampler, keep
from stoker_worker.sampling.table import SamplingBatch, SamplingTable


def batch_of(params: list[SamplingParams], positions: list[int], choices: list[int] | None = None) -> SamplingBatch:
    table = SamplingTable()
    rows = [table.assign(p, choice) for p, choice in zip(params, choices or [0] * len(params), strict=True)]
    return table.gather(rows, positions)


def sample(logits: np.ndarray, batch: SamplingBatch) -> np.ndarray:
    return Sampler(logits.shape[1]).sample(logits, batch)


def random_logits(seed: int, rows: int, vocab: int, spread: float) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, vocab)) * spread).astype(np.float32)


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.01, 1.0, 4.0, 30.0]), st.floats(0.05, 2.0))
def test_the_short_cut_draws_what_noise_for_every_token_would(seed: int, spread: float, temperature: float) -> None:
    logits = random_logits(seed, 1, 3000, spread)
    batch = batch_of([SamplingParams(temperature=temperature, seed=seed)], [seed % 1000])
    scaled = (logits[0] - logits[0].max()) * (np.float32(1) / np.float32(temperature))
    noise = gumbel(token_hashes(batch.keys[0], np.arange(3000, dtype=np.uint32)))
    assert sample(logits, batch)[0] == (scaled.astype(np.float64) + noise).argmax()


def test_draws_have_the_softmax_distribution() -> None:
    probabilities = np.array([0.5, 0.25, 0.15, 0.1])
    count = 20_000
    logits = np.tile(np.log(probabilities).astype(np.float32), (count, 1))
    tokens = sample(logits, batch_of([SamplingParams(seed=11)] * count, list(range(count))))
    observed = np.bincount(tokens, minlength=4)
    chi_square = ((observed - probabilities * count) ** 2 / (probabilities * count)).sum()
    assert chi_square < 22  # 3 degrees of freedom: one in ten thousand above


def test_a_row_draws_the_same_token_in_any_batch() -> None:
    rng = np.random.default_rng(5)
    logits = random_logits(5, 12, 500, 3.0)
    params = [
        SamplingParams(
            temperature=float(rng.choice([0.0, 0.7, 1.3])),
            top_k=int(rng.choice([0, 5])),
            top_p=float(rng.choice([1.0, 0.8])),
            min_p=float(rng.choice([0.0, 0.05])),
            seed=int(rng.integers(2**63)),
        )
        for _ in range(12)
    ]
    together = sample(logits, batch_of(params, list(range(12)))).tolist()
    alone = [sample(logits[i : i + 1], batch_of([params[i]], [i]))[0] for i in range(12)]
    order = rng.permutation(12)
    shuffled = sample(logits[order], batch_of([params[i] for i in order], order.tolist())).tolist()
    assert together == alone
    assert [together[i] for i in order] == shuffled


def test_seed_choice_and_position_each_change_the_draws() -> None:
    logits = np.zeros((8, 10_000), np.float32)
    seeds = [SamplingParams(seed=seed) for seed in (1, 1, 2, 1)]
    batch = batch_of(seeds, [0, 0, 0, 1], [0, 1, 0, 0])
    assert len(set(sample(logits[:4], batch).tolist())) == 4


def naive_keep(scaled: np.ndarray, top_k: int, top_p: float, min_p: float) -> list[int]:
    ids = sorted(range(len(scaled)), key=lambda i: (-scaled[i], i))
    if min_p > 0:
        ids = [i for i in ids if scaled[i] >= np.float32(math.log(min_p))]
    if top_k:
        ids = ids[:top_k]
    masses = [math.exp(scaled[i]) for i in ids]
    kept, mass = [], 0.0
    for token, weight in zip(ids, masses, strict=True):
        kept.append(token)
        mass += weight
        if top_p < 1 and mass >= top_p * sum(masses) * (1 - 1e-6):
            break
    return kept


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.1, 2.0, 9.0]),
    st.sampled_from([0, 1, 7, 200, 5000]),
    st.sampled_from([1.0, 0.999, 0.9, 0.3, 0.01]),
    st.sampled_from([0.0, 0.001, 0.2, 1.0]),
)
def test_filters_keep_what_their_definitions_say(
    seed: int, spread: float, top_k: int, top_p: float, min_p: float
) -> None:
    scaled = random_logits(seed, 1, 800, spread)[0]
    scaled -= scaled.max()
    kept, expected = keep(scaled, top_k, top_p, min_p).tolist(), naive_keep(scaled, top_k, top_p, min_p)
    assert abs(len(kept) - len(expected)) <= 1  # the mass at the cut may round either way
    shared = min(len(kept), len(expected))
    assert kept[:shared] == expected[:shared]


def test_ties_are_cut_by_token_id() -> None:
    assert keep(np.zeros(10, np.float32), 3, 1.0, 0.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("row", "token"),
    [([0, 1, math.nan], -1), ([-math.inf] * 3, -1), ([math.inf, 0, 0], -1), ([-math.inf, 0, -math.inf], 1)],
)
def test_rows_that_are_no_numbers_are_marked(row: list[float], token: int) -> None:
    params = [SamplingParams(temperature=0.0), SamplingParams()]
    assert sample(np.array([row, row], np.float32), batch_of(params, [0, 0])).tolist() == [token, token]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (SamplingParams(logit_bias=((0, 5.0), (3, -100.0))), [6, 2, -3, -96]),
        (SamplingParams(repetition_penalty=2.0), [0.5, 1, -6, 4]),
        (SamplingParams(presence_penalty=0.5), [1, 1.5, -3.5, 4]),
        (SamplingParams(frequency_penalty=0.5), [1, 1.5, -4, 4]),
        (SamplingParams(presence_penalty=1.0, frequency_penalty=0.5), [1, 0.5, -5, 4]),
    ],
)
def test_edits_change_the_logits_of_history_and_bias(params: SamplingParams, expected: list[float]) -> None:
    edits = LogitEdits(params, prompt=[0], output=[2], min_tokens=0, stops=())
    edits.append(1)
    edits.append(2)
    logits = np.array([1, 2, -3, 4], np.float32)
    edits.apply(logits)
    assert logits.tolist() == expected


def test_no_stop_token_can_be_drawn_before_the_least_number_of_tokens() -> None:
    edits = LogitEdits(SamplingParams(), prompt=[], output=[9], min_tokens=2, stops={1})
    logits = np.zeros(3, np.float32)
    edits.apply(logits)
    assert logits[1] == -math.inf
    edits.append(0)
    logits = np.zeros(3, np.float32)
    edits.apply(logits)
    assert logits[1] == 0


def test_logprobs_are_a_log_softmax_with_the_best_first() -> None:
    logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.1, 0.1]], np.float32))
    result = logprobs_of(logits, [0, 2], 3)
    assert np.exp(result.chosen) == pytest.approx([0.1, 0.1], rel=1e-5)
    assert result.top_ids.tolist() == [[3, 2, 1], [0, 1, 2]]
    assert np.exp(result.top_values[0]) == pytest.approx([0.4, 0.3, 0.2], rel=1e-5)


def test_rows_of_the_table_are_reused() -> None:
    table = SamplingTable()
    rows = [table.assign(SamplingParams(seed=n), 0) for n in range(40)]
    table.release(rows[7])
    assert table.assign(SamplingParams(temperature=0.25), 0) == rows[7]
    assert table.gather([rows[7]], [0]).temperature.tolist() == [0.25]
    assert len(set(rows)) == 40

"""Noise is uniform, independent of everything but its key and token, and reproducible for good."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.sampling.noise import GUMBEL_MAX, GUMBEL_MIN, gumbel, row_keys, token_hashes


def keys_of(seed: int, choice: int, position: int) -> np.uint64:
    (key,) = row_keys(np.array([seed], np.uint64), np.array([choice]), np.array([position]))
    return key


def test_the_noise_of_a_seed_never_changes_between_versions() -> None:
    """A change here changes the text of every seeded request."""
    ids = np.arange(4, dtype=np.uint32)
    assert token_hashes(keys_of(42, 0, 7), ids).tolist() == [2204651692, 4065272571, 1682860946, 2682636565]
    assert keys_of(2**64 - 1, 3, 100_000) == np.uint64(14852237460287528891)


def test_hashes_are_uniform_over_tokens_and_over_positions() -> None:
    over_tokens = token_hashes(keys_of(1, 0, 0), np.arange(1 << 16, dtype=np.uint32))
    positions = np.arange(1 << 14)
    keys = row_keys(np.full(len(positions), 5, np.uint64), np.zeros(len(positions), np.int64), positions)
    over_positions = np.array([token_hashes(key, np.array([77], np.uint32))[0] for key in keys])
    for hashes in (over_tokens, over_positions):
        counts = np.bincount(hashes >> 24, minlength=256)
        expected = len(hashes) / 256
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert 160 < chi_square < 370  # 255 degrees of freedom: one in a million outside


def test_neighbouring_seeds_choices_and_positions_are_uncorrelated() -> None:
    ids = np.arange(20_000, dtype=np.uint32)
    base = token_hashes(keys_of(9, 1, 5), ids) / 2**32 - 0.5
    for other in ((10, 1, 5), (9, 2, 5), (9, 1, 6), (9, 0, 6)):
        correlation = np.mean(base * (token_hashes(keys_of(*other), ids) / 2**32 - 0.5)) * 12
        assert abs(correlation) < 0.035  # five standard deviations


@given(st.integers(0, 2**32 - 1))
def test_gumbel_noise_is_finite_and_falls_with_the_hash(value: int) -> None:
    (noise,) = gumbel(np.array([value], np.uint32))
    assert GUMBEL_MIN <= noise <= GUMBEL_MAX
    assert gumbel(np.array([min(value + 1, 2**32 - 1)], np.uint32))[0] <= noise


def test_gumbel_noise_has_the_distributions_mean_and_variance() -> None:
    noise = gumbel(token_hashes(keys_of(3, 0, 0), np.arange(200_000, dtype=np.uint32)))
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.02)
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.03)

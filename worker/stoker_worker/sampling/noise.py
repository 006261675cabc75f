"""Gumbel noise that depends on (seed, choice, position, token) and nothing else.

A draw is a counter-based hash, so any row of any batch on any device can make the same noise: 32-bit integer arithmetic
only, then one fixed formula. The hash is Chris Wellons' `lowbias32` finaliser with one half of the key added before and the
other mixed in half-way; keys come from Steele's SplitMix64. Both are short enough for a GPU kernel's inner loop.
"""

import numpy as np
from numpy.typing import NDArray

UInt32 = NDArray[np.uint32]
UInt64 = NDArray[np.uint64]
Float64 = NDArray[np.float64]

# -log(-log(u)) for the smallest and the largest u that 32 bits can give: u = (x + 0.5) / 2**32.
GUMBEL_MIN = -3.14
GUMBEL_MAX = 22.88

WEYL_32 = np.uint32(0x9E3779B9)
_WEYL = np.uint64(0x9E3779B97F4A7C15)


def row_keys(seeds: UInt64, choices: NDArray[np.int64], positions: NDArray[np.int64]) -> UInt64:
    """One 64-bit key per row: [L] uint64.

    seeds      [L] uint64
    choices    [L] int64, index of the choice in its request
    positions  [L] int64, of the token to be drawn, counted from the sequence's start
    """
    with np.errstate(over="ignore"):
        key = _splitmix(seeds + _WEYL)
        key = _splitmix(key ^ choices.astype(np.uint64))
        return _splitmix(key + positions.astype(np.uint64) * _WEYL)


def token_hashes(key: np.uint64, token_ids: UInt32) -> UInt32:
    """The raw draws of one row: uniform 32-bit integers, one per token id. Small values mean large noise."""
    hashes = token_ids * WEYL_32
    hash_in_place(key, hashes, np.empty_like(hashes))
    return hashes


def hash_in_place(key: np.uint64, x: UInt32, scratch: UInt32) -> None:
    """Turn token ids times WEYL_32 into their raw draws; `scratch` is of the same size."""
    low, high = np.uint32(int(key) & 0xFFFFFFFF), np.uint32(int(key) >> 32)
    x += low
    x ^= np.right_shift(x, 16, out=scratch)
    x *= np.uint32(0x7FEB352D)
    x ^= high
    x ^= np.right_shift(x, 15, out=scratch)
    x *= np.uint32(0x846CA68B)
    x ^= np.right_shift(x, 16, out=scratch)


def gumbel(hashes: UInt32) -> Float64:
    """Standard Gumbel noise of raw draws: -log(-log1p(-v)) with v = (hash + 0.5) / 2**32.

    The uniform is 1 - v: small hashes are the large noise, where a 32-bit float could not tell 1 - v from 1.
    """
    v = (hashes.astype(np.float64) + 0.5) * 2.0**-32
    noise: Float64 = -np.log(-np.log1p(-v))
    return noise


def _splitmix(x: UInt64) -> UInt64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""Draw one token per row: argmax for greedy rows, Gumbel-max for the others.

Gumbel-max (Gumbel 1954; Maddison et al. 2014): argmax over tokens of logit / temperature + noise has the softmax's
distribution. The noise is a pure function of (seed, choice, position, token), so a row's token does not depend on its batch.

Computing noise for a whole vocabulary is the cost to avoid. A token can only win if its noise exceeds the best score found so
far by the lack of its logit; large noise means a small hash, so one comparison of integers against an exponential leaves a
handful of tokens for which the exact score is worth computing. The result is the same as without the short cut.
"""

import math

import numpy as np
from numpy.typing import NDArray

from stoker_worker.sampling.noise import WEYL_32, gumbel, hash_in_place, token_hashes
from stoker_worker.sampling.table import SamplingBatch

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

# Tokens this far below the best (in nats after temperature) are looked at only if the nearer ones do not suffice.
NEAR_NATS = 12.0

# So cold that only the best token has a chance; below it the division would overflow.
GREEDY_BELOW = 1e-5

# In units of hashes: reach 1 is all of them. Both are multiples of what float32 can tell apart there, and fit 32 bits together.
REACH_MARGIN = 1024.0
LARGEST_REACH = 2.0**32 - 2 * REACH_MARGIN


class Sampler:
    """Owns scratch memory for one vocabulary: fresh arrays of its size would be mapped and cleared at every draw."""

    def __init__(self, vocab_size: int) -> None:
        self._seeds = np.arange(vocab_size, dtype=np.uint32) * WEYL_32
        self._hashes = np.empty(vocab_size, np.uint32)
        self._scratch = np.empty(vocab_size, np.uint32)
        self._scaled = np.empty(vocab_size, np.float32)
        self._reach = np.empty(vocab_size, np.float32)

    def sample(self, logits: Float32, batch: SamplingBatch) -> Int64:
        """Token ids of L rows.

        logits   [L, vocab] float32, edited already; not changed
        returns  [L] int64; -1 for a row whose logits hold a NaN or nothing finite
        """
        tokens: Int64 = logits.argmax(axis=1)
        best = logits[np.arange(len(tokens)), tokens]  # argmax finds a NaN if there is one
        tokens[~np.isfinite(best)] = -1
        for row in np.flatnonzero((batch.temperature >= GREEDY_BELOW) & (tokens >= 0)).tolist():
            tokens[row] = self._draw(logits[row], int(tokens[row]), batch, row)
        return tokens

    def _draw(self, logits: Float32, best: int, batch: SamplingBatch, row: int) -> int:
        scaled = np.subtract(logits, logits[best], out=self._scaled)
        scaled *= np.float32(1) / batch.temperature[row]
        key = batch.keys[row]
        top_k, top_p, min_p = int(batch.top_k[row]), float(batch.top_p[row]), float(batch.min_p[row])
        if top_k == 0 and top_p >= 1 and min_p == 0:
            return self._race(scaled, best, key)
        ids = keep(scaled, top_k, top_p, min_p)
        return _best_score(scaled, ids, token_hashes(key, ids.astype(np.uint32)))

    def _race(self, scaled: Float32, leader: int, key: np.uint64) -> int:
        """Gumbel-max over the whole row. `leader` is where `scaled` is 0, its maximum."""
        hashes = self._hashes
        np.copyto(hashes, self._seeds)
        hash_in_place(key, hashes, self._scratch)
        threshold = float(gumbel(hashes[leader : leader + 1])[0])  # the leader's score: what the others must exceed
        # -log(-log1p(-v)) > t implies v < exp(-t): whoever's hash is larger cannot win. The margins cover float32's rounding.
        reach = np.subtract(scaled, np.float32(threshold), out=self._reach)
        np.minimum(reach, np.float32(0), out=reach)
        np.exp(reach, out=reach)
        reach *= np.float32(LARGEST_REACH)
        reach += np.float32(REACH_MARGIN)
        np.copyto(self._scratch, reach, casting="unsafe")
        able = np.flatnonzero(hashes <= self._scratch)
        return _best_score(scaled, able, hashes[able])


def keep(scaled: Float32, top_k: int, top_p: float, min_p: float) -> Int64:
    """The token ids that survive min-p, then top-k, then top-p (of what is left, at least one), best first.

    scaled  [vocab] float32, logits over temperature less their maximum
    """
    floor = math.log(min_p) if min_p > 0 else -math.inf
    near = _descending(scaled, max(floor, -NEAR_NATS))
    if _suffices(scaled, near, floor, top_k, top_p):
        return _cut(scaled, near, floor, top_k, top_p)
    return _cut(scaled, _descending(scaled, floor), floor, top_k, top_p)


def _descending(scaled: Float32, floor: float) -> Int64:
    """Ids with `scaled` at least `floor`, best first, ties by id."""
    ids = np.flatnonzero(scaled >= np.float32(floor))
    return ids[np.argsort(-scaled[ids], kind="stable")]


def _suffices(scaled: Float32, near: Int64, floor: float, top_k: int, top_p: float) -> bool:
    """Whether the near tokens decide the cut: top-k and top-p both end before the first token left out."""
    if floor >= -NEAR_NATS or 0 < top_k <= len(near):
        return True
    return top_k == 0 and top_p < 1 and _mass(scaled, near) >= top_p * _total(scaled, floor)


def _cut(scaled: Float32, ids: Int64, floor: float, top_k: int, top_p: float) -> Int64:
    if top_k:
        ids = ids[:top_k]
    if top_p < 1:
        masses = np.exp(scaled[ids].astype(np.float64))
        total = masses.sum() if top_k else _total(scaled, floor)
        enough = int(np.searchsorted(np.cumsum(masses), top_p * total)) + 1
        ids = ids[:enough]
    return ids


def _mass(scaled: Float32, ids: Int64) -> float:
    return float(np.exp(scaled[ids].astype(np.float64)).sum())


def _total(scaled: Float32, floor: float) -> float:
    weights = np.exp(scaled)
    return float(weights[scaled >= np.float32(floor)].sum(dtype=np.float64))


def _best_score(scaled: Float32, ids: Int64, hashes: NDArray[np.uint32]) -> int:
    scores = scaled[ids].astype(np.float64) + gumbel(hashes)
    return int(ids[scores.argmax()])

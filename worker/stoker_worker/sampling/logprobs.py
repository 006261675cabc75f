"""Log probabilities of the model itself: before temperature, penalties and filters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Of P positions.

    chosen      [P] float32, of the tokens that stand there
    top_ids     [P, top] int64, best first, ties by id
    top_values  [P, top] float32
    """

    chosen: Float32
    top_ids: Int64
    top_values: Float32


def logprobs_of(logits: Float32, token_ids: list[int], top: int) -> Logprobs:
    """Logprobs of `token_ids` [P] and of the `top` best alternatives under rows [P, vocab] float32 of raw logits."""
    maxima = logits.max(axis=1, keepdims=True)
    norms = maxima + np.log(np.exp(logits - maxima).sum(axis=1, keepdims=True))
    chosen = logits[np.arange(len(token_ids)), token_ids] - norms[:, 0]
    ids = _best_ids(logits, top)
    return Logprobs(chosen, ids, np.take_along_axis(logits, ids, axis=1) - norms)


def _best_ids(logits: Float32, count: int) -> Int64:
    if count == 0:
        return np.zeros((len(logits), 0), np.int64)
    ids = np.sort(np.argpartition(logits, -count, axis=1)[:, -count:], axis=1)
    order = np.argsort(-np.take_along_axis(logits, ids, axis=1), axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1)

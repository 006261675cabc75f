"""Changes to single logits that a request's history or wishes demand: bias, penalties, forbidden stops."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stoker_worker.sampling.params import SamplingParams

Float32 = NDArray[np.float32]


class LogitEdits:
    """What one sequence changes in its logits; kept up to date token by token.

    Order: bias, repetition penalty (CTRL, Keskar et al. 2019), presence and frequency penalties (OpenAI's API reference),
    and while fewer than `min_tokens` tokens are out, no stop token may be drawn.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Iterable[int],
        output: Iterable[int],
        min_tokens: int,
        stops: Iterable[int],
    ) -> None:
        self._params = params
        self._counts = Counter(output)
        self._num_output = self._counts.total()
        self._seen = dict.fromkeys([*prompt, *self._counts]) if params.repetition_penalty != 1 else {}
        self._bias_ids = np.array([token for token, _ in params.logit_bias], np.int64)
        self._bias = np.array([value for _, value in params.logit_bias], np.float32)
        self._min_tokens = min_tokens
        self._stops = np.array(sorted(stops), np.int64)

    @staticmethod
    def needed(params: SamplingParams, min_tokens: int) -> bool:
        """Whether a request edits logits at all: most do not."""
        penalised = params.repetition_penalty != 1 or params.presence_penalty or params.frequency_penalty
        return bool(penalised or params.logit_bias or min_tokens)

    def append(self, token: int) -> None:
        """A token was drawn."""
        self._counts[token] += 1
        self._num_output += 1
        if self._params.repetition_penalty != 1:
            self._seen[token] = None

    def apply(self, logits: Float32) -> None:
        """Edit one row in place: [vocab] float32. Ids beyond the vocabulary were refused at the wire."""
        params = self._params
        if len(self._bias):
            np.add.at(logits, self._bias_ids, self._bias)
        if self._seen:
            ids = np.fromiter(self._seen, np.int64, len(self._seen))
            values = logits[ids]
            penalty = np.float32(params.repetition_penalty)
            logits[ids] = np.where(values > 0, values / penalty, values * penalty)
        if self._counts and (params.presence_penalty or params.frequency_penalty):
            ids = np.fromiter(self._counts, np.int64, len(self._counts))
            counts = np.fromiter(self._counts.values(), np.float32, len(self._counts))
            logits[ids] -= np.float32(params.presence_penalty) + np.float32(params.frequency_penalty) * counts
        if self._num_output < self._min_tokens:
            logits[self._stops] = -np.inf

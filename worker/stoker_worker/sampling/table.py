"""Sampling parameters of all live sequences: a permanent row each, gathered once per step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker_worker.sampling.noise import UInt64, row_keys
from stoker_worker.sampling.params import SamplingParams


@dataclass(frozen=True, slots=True)
class SamplingBatch:
    """Parameters of L logits rows, as arrays of length L; `keys` seed the noise of the token to be drawn."""

    temperature: NDArray[np.float32]
    top_k: NDArray[np.int64]
    top_p: NDArray[np.float32]
    min_p: NDArray[np.float32]
    keys: UInt64


class SamplingTable:
    """Grows as sequences come; rows are reused after `release`."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._temperature = np.zeros(0, np.float32)
        self._top_k = np.zeros(0, np.int64)
        self._top_p = np.zeros(0, np.float32)
        self._min_p = np.zeros(0, np.float32)
        self._seeds = np.zeros(0, np.uint64)
        self._choices = np.zeros(0, np.int64)

    def assign(self, params: SamplingParams, choice: int) -> int:
        """Give a sequence its row."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        self._temperature[row] = params.temperature
        self._top_k[row] = params.top_k
        self._top_p[row] = params.top_p
        self._min_p[row] = params.min_p
        self._seeds[row] = params.seed & 0xFFFFFFFFFFFFFFFF
        self._choices[row] = choice
        return row

    def release(self, row: int) -> None:
        """The sequence has ended."""
        self._free.append(row)

    def gather(self, rows: list[int], positions: list[int]) -> SamplingBatch:
        """Parameters for drawing the tokens at `positions` of the sequences in `rows`."""
        index = np.array(rows, np.int64)
        return SamplingBatch(
            temperature=self._temperature[index],
            top_k=self._top_k[index],
            top_p=self._top_p[index],
            min_p=self._min_p[index],
            keys=row_keys(self._seeds[index], self._choices[index], np.array(positions, np.int64)),
        )

    def _grow(self) -> None:
        old = len(self._temperature)
        new = max(16, old * 2)
        for name in ("_temperature", "_top_k", "_top_p", "_min_p", "_seeds", "_choices"):
            array = getattr(self, name)
            setattr(self, name, np.resize(array, new) if old else np.zeros(new, array.dtype))
        self._free.extend(range(new - 1, old - 1, -1))

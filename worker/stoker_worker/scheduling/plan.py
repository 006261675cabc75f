"""What scheduling hands to execution: one step as plain arrays, so that any device can run it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One forward pass over R sequences with T tokens in all, prefill and decode alike.

    token_ids      [T]                int32
    positions      [T]                int32, of each token in its sequence
    slots          [T]                int64, where each token's KV goes: block · block_size + offset
    query_starts   [R + 1]            int32, cumulative: sequence r owns tokens [query_starts[r], query_starts[r+1])
    context_lens   [R]                int32, tokens in the sequence after this step
    block_tables   [R, max_blocks]    int32, -1 past the end
    logits_rows    [L]                int32, indices into T whose logits are wanted, ascending

    The arrays are the plan's own: they are not written after it was made.
    """

    token_ids: Int32
    positions: Int32
    slots: Int64
    query_starts: Int32
    context_lens: Int32
    block_tables: Int32
    logits_rows: Int32
    adapter_slots: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))  # [R], empty: no adapters

    @property
    def tokens(self) -> int:
        """T."""
        return len(self.token_ids)

    @property
    def keys(self) -> int:
        """Keys that the tokens attend to, summed over the tokens."""
        return int(self.positions.sum(dtype=np.int64)) + self.tokens

    @property
    def sequences(self) -> int:
        """R."""
        return len(self.context_lens)

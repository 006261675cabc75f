"""Storage of keys and values in blocks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LayerCache:
    """One layer's keys and values, each [num_blocks, block_size, H_kv, D]: a block is contiguous, so that it is gathered in one copy."""

    k: Tensor
    v: Tensor

    @classmethod
    def allocate(cls, shape: tuple[int, int, int, int], dtype: torch.dtype) -> "LayerCache":
        """Zeroed blocks of shape [num_blocks, block_size, H_kv, D]. Raises MemoryError.

        Zeros, because a gathered block's unused places are masked by adding -inf, which does not mask NaN. They come from numpy,
        which leaves it to the kernel to make them when a block is first touched, in huge pages.
        """
        as_bytes = (*shape[:-1], shape[-1] * dtype.itemsize)
        k, v = (torch.from_numpy(np.zeros(as_bytes, np.uint8)).view(dtype) for _ in "kv")
        return cls(k, v)

    @property
    def block_size(self) -> int:
        """Tokens of a block."""
        return self.k.shape[1]

    def write(self, k: Tensor, v: Tensor, slots: Tensor) -> None:
        """Put T tokens' keys and values [T, H_kv, D] at `slots` [T]: block · block_size + offset."""
        self.k.view(-1, *self.k.shape[2:]).index_copy_(0, slots, k)
        self.v.view(-1, *self.v.shape[2:]).index_copy_(0, slots, v)

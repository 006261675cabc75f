"""What every attention backend is: one signature, one description of a step, and a declaration of what it can do."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stoker_worker.scheduling.plan import Int32


@dataclass(frozen=True, slots=True)
class AttentionMetadata:
    """Which queries see which blocks, for one step; the same for all layers.

    query_starts   [R + 1]          cumulative: sequence r owns queries [query_starts[r], query_starts[r+1])
    context_lens   [R]              tokens in the sequence, this step's included, never 0; its queries are the last of them
    block_tables   [R, max_blocks]  indices into the cache, -1 past the end
    """

    query_starts: Int32
    context_lens: Int32
    block_tables: Int32
    block_size: int


@dataclass(frozen=True, slots=True)
class AttentionSpec:
    """How a layer attends.

    scale    multiplies q·k
    causal   a query sees no later token
    window   tokens that a query sees at most, itself included; 0: all
    softcap  c: scores become c·tanh(score / c); 0: off
    """

    scale: float
    causal: bool = True
    window: int = 0
    softcap: float = 0.0


class AttentionStep(Protocol):
    """One step's attention, called once per layer. What depends on the metadata alone is computed once."""

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, spec: AttentionSpec, out: Tensor) -> None:
        """Attend T queries to their sequences' keys and values, which the cache already holds.

        q, out            [T, H, D]; `out` is contiguous and written
        k_cache, v_cache  [num_blocks, block_size, H_kv, D]; query head h reads KV head h // (H / H_kv)
        """
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do; None: anything."""

    head_dims: frozenset[int] | None = None
    block_sizes: frozenset[int] | None = None
    dtypes: frozenset[torch.dtype] | None = None

    def refusal(self, head_dim: int, block_size: int, dtype: torch.dtype) -> str | None:
        """Why the backend cannot serve a model, or None if it can."""
        if self.head_dims is not None and head_dim not in self.head_dims:
            return f"heads of {head_dim} dimensions; it takes {sorted(self.head_dims)}"
        if self.block_sizes is not None and block_size not in self.block_sizes:
            return f"KV blocks of {block_size} tokens; it takes {sorted(self.block_sizes)}"
        if self.dtypes is not None and dtype not in self.dtypes:
            return f"type {dtype}; it takes {sorted(map(str, self.dtypes))}"
        return None


class AttentionBackend(Protocol):
    """A way to compute attention over paged keys and values."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def plan(self, metadata: AttentionMetadata) -> AttentionStep:
        """Prepare one step. The result is valid until the next call."""
        ...

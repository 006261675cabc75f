"""The attention half of a decoder layer."""

import torch
from torch import Tensor

from stoker_worker.attention.base import AttentionSpec
from stoker_worker.attention.kv_cache import LayerCache
from stoker_worker.layers.linear import ColumnParallelLinear, RowParallelLinear
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.parallel import share
from stoker_worker.layers.rope import Rotation
from stoker_worker.layers.step import StepInputs
from stoker_worker.models.config import ModelConfig


class DecoderAttention:
    """Causal self-attention with grouped queries, rotary positions and paged keys and values."""

    def __init__(self, config: ModelConfig, loader: WeightLoader, name: str) -> None:
        self._heads = share(config.num_heads, loader.group, "attention heads")
        self._kv_heads = share(config.num_kv_heads, loader.group, "KV heads")
        self._head_dim = config.head_dim
        projections = (f"{name}.q_proj", f"{name}.k_proj", f"{name}.v_proj")
        self._qkv = ColumnParallelLinear(loader, *projections, bias=config.qkv_bias)
        self._out = RowParallelLinear(loader, f"{name}.o_proj", bias=config.o_bias)
        self._spec = AttentionSpec(scale=config.head_dim**-0.5, window=config.sliding_window)

    def __call__(self, x: Tensor, rotation: Rotation, step: StepInputs, cache: LayerCache) -> Tensor:
        """[T, hidden] → [T, hidden], freshly allocated; writes the tokens' keys and values to `cache`."""
        heads, rotated = self._heads, self._heads + self._kv_heads
        qkv = self._qkv(x).view(len(x), -1, self._head_dim)
        qk = rotation.apply(qkv[:, :rotated])
        cache.write(qk[:, heads:], qkv[:, rotated:], step.slots)
        attended = torch.empty(len(x), heads, self._head_dim, dtype=x.dtype)
        step.attention(qk[:, :heads], cache.k, cache.v, self._spec, attended)
        return self._out(attended.view(len(x), -1))

"""Attention in plain torch operations: the reference for all other backends, and today's path on CPUs.

Blocks are gathered into scratch memory, then attended densely: a run of decodes by batched matrix products, a prefill chunk
by scaled_dot_product_attention. Contiguous blocks of a single sequence are attended where they are.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from stoker_worker.attention.base import AttentionMetadata, AttentionSpec, Capabilities
from stoker_worker.attention.grouping import Rows, divide

# KV heads whose queries share one matrix product, see DecodeRun.
HEADS_PER_PRODUCT = 4


class TorchAttention:
    """Any head size, block size and floating type. Owns the scratch memory that blocks are gathered into."""

    capabilities = Capabilities()

    def __init__(self) -> None:
        self._scratch: dict[int, Tensor] = {}

    def plan(self, metadata: AttentionMetadata) -> "TorchAttentionStep":
        """Prepare one step; its pieces are made when a layer first asks for them."""
        return TorchAttentionStep(metadata, self)

    def gather(self, which: int, cache: Tensor, blocks: Tensor) -> Tensor:
        """Copy blocks into scratch memory `which`: [len(blocks) · block_size, H_kv, D], valid until it is used again."""
        rows = cache.view(len(cache), -1)
        size = len(blocks) * rows.shape[1]
        scratch = self._scratch.get(which)
        if scratch is None or scratch.numel() < size or scratch.dtype != cache.dtype:
            scratch = self._scratch[which] = torch.empty(size, dtype=cache.dtype)
        gathered = scratch[:size].view(len(blocks), -1)
        torch.index_select(rows, 0, blocks, out=gathered)
        return gathered.view(-1, *cache.shape[2:])


class _Piece(Protocol):
    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, spec: AttentionSpec, out: Tensor) -> None: ...


class TorchAttentionStep:
    """The pieces of one step, made once for each kind of mask and used by all layers."""

    def __init__(self, metadata: AttentionMetadata, backend: TorchAttention) -> None:
        self._metadata = metadata
        self._backend = backend
        self._pieces: dict[tuple[bool, int], list[_Piece]] = {}

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, spec: AttentionSpec, out: Tensor) -> None:
        """See AttentionStep."""
        kind = (spec.causal, spec.window)
        if kind not in self._pieces:
            self._pieces[kind] = [self._piece(rows, spec, q.dtype) for rows in divide(self._metadata, spec.window)]
        for piece in self._pieces[kind]:
            piece(q, k_cache, v_cache, spec, out)

    def _piece(self, rows: Rows, spec: AttentionSpec, dtype: torch.dtype) -> _Piece:
        keys = _Keys(rows, self._metadata.block_size, self._backend)
        return _DecodeRun(rows, keys, spec, dtype) if rows.num_queries == 1 else _Chunk(rows, keys, spec, dtype)


class _Keys:
    """Where the keys and values of n sequences are: [n, padded tokens, H_kv, D]."""

    def __init__(self, rows: Rows, block_size: int, backend: TorchAttention) -> None:
        self.shape = (len(rows.block_tables), rows.block_tables.shape[1] * block_size)
        self._backend = backend
        blocks = rows.block_tables.reshape(-1)
        self._first = int(blocks[0])
        self._is_contiguous = len(rows.block_tables) == 1 and bool((np.diff(blocks) == 1).all())
        self._blocks = torch.from_numpy(blocks)

    def collect(self, which: int, cache: Tensor) -> Tensor:
        """`which` tells keys (0) from values (1), which are in use together."""
        if self._is_contiguous:
            tokens = cache[self._first : self._first + len(self._blocks)]
        else:
            tokens = self._backend.gather(which, cache, self._blocks)
        return tokens.view(*self.shape, *cache.shape[2:])


class _DecodeRun:
    """One query for each of n sequences.

    A batched product per KV head would have few rows and strided operands. Instead up to four KV heads share one: the queries of
    each stand in their own block of a block-diagonal matrix, [heads, KV heads · D], which multiplies keys as they lie in
    the cache, [tokens, KV heads · D]. It multiplies zeros, but reads each key once and in order, and reading is what takes time.
    """

    def __init__(self, rows: Rows, keys: _Keys, spec: AttentionSpec, dtype: torch.dtype) -> None:
        self._tokens = slice(rows.start, rows.start + len(rows.num_keys))
        self._keys = keys
        self._bias = _bias(_visible_to_last(rows, keys.shape[1], spec), dtype)[:, None]  # [n, 1, keys]

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, spec: AttentionSpec, out: Tensor) -> None:
        kv_heads = k_cache.shape[2]
        k, v = self._keys.collect(0, k_cache), self._keys.collect(1, v_cache)
        q, out = _by_kv_head(q[self._tokens], kv_heads), _by_kv_head(out[self._tokens], kv_heads)
        for first in range(0, kv_heads, HEADS_PER_PRODUCT):
            heads = slice(first, first + HEADS_PER_PRODUCT)
            self._attend(q[:, heads], k[:, :, heads].flatten(2), v[:, :, heads].flatten(2), spec, out[:, heads])

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec, out: Tensor) -> None:
        """q, out [n, heads, G, D]; k, v [n, keys, heads · D]."""
        n, heads, queries, dim = q.shape
        block_diagonal = q.new_zeros(n, heads, queries, heads, dim)
        block_diagonal.diagonal(dim1=1, dim2=3).copy_(q.permute(0, 2, 3, 1))
        scores = _scores(block_diagonal.view(n, heads * queries, -1), k.transpose(1, 2), self._bias, spec)
        attended = torch.bmm(scores.softmax(-1), v).view(n, heads, queries, heads, dim)
        out.copy_(attended.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2))


class _Chunk:
    """Several queries of one sequence."""

    def __init__(self, rows: Rows, keys: _Keys, spec: AttentionSpec, dtype: torch.dtype) -> None:
        self._tokens = slice(rows.start, rows.start + rows.num_queries)
        self._keys = keys
        self._num_keys = int(rows.num_keys[0])
        # The kernel knows the mask of a whole prompt and then skips what it hides.
        self._is_whole = spec.causal and not spec.window and not spec.softcap and rows.num_queries == self._num_keys
        self._bias = None if self._is_whole else _bias(_visible_to_chunk(rows, spec), dtype)  # [queries, keys]

    def __call__(self, q: Tensor, k_cache: Tensor, v_cache: Tensor, spec: AttentionSpec, out: Tensor) -> None:
        kv_heads = k_cache.shape[2]
        k = self._keys.collect(0, k_cache)[0, : self._num_keys].transpose(0, 1)
        v = self._keys.collect(1, v_cache)[0, : self._num_keys].transpose(0, 1)
        grouped = _by_kv_head(q[self._tokens], kv_heads).permute(1, 2, 0, 3)  # [H_kv, G, queries, D]
        target = _by_kv_head(out[self._tokens], kv_heads).permute(1, 2, 0, 3)
        if spec.softcap:
            self._attend_capped(grouped, k, v, spec, target)
            return
        shape = (-1, grouped.shape[1], -1, -1)
        target.copy_(
            scaled_dot_product_attention(
                grouped,
                k[:, None].expand(shape),
                v[:, None].expand(shape),
                attn_mask=self._bias,
                is_causal=self._is_whole,
                scale=spec.scale,
            )
        )

    def _attend_capped(self, q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec, out: Tensor) -> None:
        """One KV head after the other, since all scores are in memory."""
        for head in range(len(k)):
            shape = (len(q[head]), -1, -1)
            scores = _scores(q[head], k[head].T.expand(shape), self._bias, spec)
            out[head].copy_(torch.bmm(scores.softmax(-1), v[head].expand(shape)))


def _by_kv_head(heads: Tensor, kv_heads: int) -> Tensor:
    """[T, H, D] → [T, H_kv, G, D], a view."""
    return heads.view(len(heads), kv_heads, -1, heads.shape[-1])


def _scores(q: Tensor, k: Tensor, bias: Tensor | None, spec: AttentionSpec) -> Tensor:
    """[b, queries, D] · [b, D, keys], scaled, capped, biased."""
    assert bias is not None
    if spec.softcap:
        return torch.bmm(q, k).mul_(spec.scale / spec.softcap).tanh_().mul_(spec.softcap).add_(bias)
    return torch.baddbmm(bias, q, k, alpha=spec.scale)


def _visible_to_last(rows: Rows, num_keys: int, spec: AttentionSpec) -> Tensor:
    """[n, num_keys]: which gathered keys each sequence's last token sees."""
    index = np.arange(num_keys)
    visible = index < rows.num_keys[:, None]
    if spec.window:
        visible &= index >= rows.num_keys[:, None] - spec.window
    return torch.from_numpy(visible)


def _visible_to_chunk(rows: Rows, spec: AttentionSpec) -> Tensor:
    """[queries, keys]: which gathered keys each of one sequence's last tokens sees."""
    keys = torch.arange(int(rows.num_keys[0]))
    distance = keys[-rows.num_queries :, None] - keys
    visible = torch.ones_like(distance, dtype=torch.bool)
    if spec.causal:
        visible &= distance >= 0
    if spec.window:
        visible &= distance < spec.window
    return visible


def _bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, -math.inf)

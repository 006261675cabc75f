"""The torch backend against attention written out: every query over its own keys, one at a time."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_worker.attention import grouping
from stoker_worker.attention.base import AttentionMetadata, AttentionSpec
from stoker_worker.attention.kv_cache import LayerCache
from stoker_worker.attention.torch_backend import TorchAttention


@dataclass(frozen=True)
class Shape:
    """Sequences are (queries, tokens before them)."""

    sequences: list[tuple[int, int]]
    kv_heads: int
    queries_per_kv_head: int
    head_dim: int
    block_size: int

    @property
    def contexts(self) -> list[int]:
        return [queries + before for queries, before in self.sequences]


@dataclass(frozen=True)
class Problem:
    metadata: AttentionMetadata
    cache: LayerCache
    q: torch.Tensor


def make_problem(shape: Shape, *, scattered: bool = True, seed: int = 0) -> Problem:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    needed = [-(-context // shape.block_size) for context in shape.contexts]
    blocks = rng.permutation(sum(needed) + 2) if scattered else np.arange(sum(needed) + 2)
    tables = np.full((len(needed), max(needed)), -1, np.int32)
    for row, own in enumerate(np.split(blocks, np.cumsum(needed))[:-1]):
        tables[row, : len(own)] = own
    cache = LayerCache.allocate((len(blocks), shape.block_size, shape.kv_heads, shape.head_dim), torch.float32)
    cache.k.normal_(generator=generator)
    cache.v.normal_(generator=generator)
    counts = [queries for queries, _ in shape.sequences]
    q = torch.randn(sum(counts), shape.kv_heads * shape.queries_per_kv_head, shape.head_dim, generator=generator)
    starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
    metadata = AttentionMetadata(starts, np.array(shape.contexts, np.int32), tables, shape.block_size)
    return Problem(metadata, cache, q)


def attend(backend: TorchAttention, problem: Problem, spec: AttentionSpec) -> torch.Tensor:
    out = torch.full(problem.q.shape, torch.nan)
    backend.plan(problem.metadata)(problem.q, problem.cache.k, problem.cache.v, spec, out)
    return out


def attend_naively(problem: Problem, spec: AttentionSpec) -> torch.Tensor:
    out = torch.empty(problem.q.shape)
    meta = problem.metadata
    for row, context in enumerate(meta.context_lens.tolist()):
        slots = [
            meta.block_tables[row, p // meta.block_size] * meta.block_size + p % meta.block_size for p in range(context)
        ]
        keys, values = problem.cache.k.flatten(0, 1)[slots], problem.cache.v.flatten(0, 1)[slots]
        first, last = meta.query_starts[row : row + 2].tolist()
        for token in range(first, last):
            position = context - (last - token)
            oldest = max(position - spec.window + 1, 0) if spec.window else 0
            newest = position if spec.causal else context - 1
            for head in range(problem.q.shape[1]):
                kv_head = head // (problem.q.shape[1] // keys.shape[1])
                scores = keys[oldest : newest + 1, kv_head] @ problem.q[token, head] * spec.scale
                if spec.softcap:
                    scores = spec.softcap * torch.tanh(scores / spec.softcap)
                out[token, head] = scores.softmax(0) @ values[oldest : newest + 1, kv_head]
    return out


shapes = st.builds(
    Shape,
    sequences=st.lists(st.tuples(st.one_of(st.just(1), st.integers(1, 9)), st.integers(0, 40)), min_size=1, max_size=6),
    kv_heads=st.sampled_from([1, 2, 3, 4, 5, 9]),
    queries_per_kv_head=st.sampled_from([1, 2, 3]),
    head_dim=st.sampled_from([1, 4, 6]),
    block_size=st.sampled_from([1, 3, 4, 16, 64]),
)
specs = st.builds(
    AttentionSpec,
    scale=st.sampled_from([0.3, 1.0]),
    causal=st.booleans(),
    window=st.sampled_from([0, 0, 1, 2, 7, 100]),
    softcap=st.sampled_from([0.0, 0.0, 1.5]),
)


@settings(max_examples=150, deadline=None)
@given(shape=shapes, spec=specs, scattered=st.booleans(), seed=st.integers(0, 2**16))
def test_any_mixture_of_chunks_and_decodes_equals_attention_written_out(
    shape: Shape, spec: AttentionSpec, scattered: bool, seed: int
) -> None:
    problem = make_problem(shape, scattered=scattered, seed=seed)
    expected = attend_naively(problem, spec)
    torch.testing.assert_close(attend(TorchAttention(), problem, spec), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("spec", [AttentionSpec(scale=0.5), AttentionSpec(scale=0.5, window=70)])
def test_contexts_of_very_different_length_are_not_padded_to_the_longest(spec: AttentionSpec) -> None:
    shape = Shape([(1, 3), (1, 10), (1, 1500), (1, 90), (1, 1490)], 3, 3, 8, 16)
    problem = make_problem(shape)
    torch.testing.assert_close(
        attend(TorchAttention(), problem, spec), attend_naively(problem, spec), atol=1e-5, rtol=1e-4
    )
    pieces = list(grouping.divide(problem.metadata, window=0))
    assert [len(piece.num_keys) for piece in pieces] == [2, 1, 1, 1]


def test_a_group_of_decodes_holds_no_more_tokens_than_scratch_memory_is_meant_for() -> None:
    problem = make_problem(Shape([(1, 255)] * 20, 1, 1, 1, 16))
    pieces = list(grouping.divide(problem.metadata, window=0))
    assert [len(piece.num_keys) for piece in pieces] == [8, 8, 4]
    assert grouping.GROUP_TOKENS == 8 * 256


def test_a_window_gathers_only_the_blocks_it_reaches() -> None:
    problem = make_problem(Shape([(1, 99), (4, 96)], 1, 1, 1, 16))
    decode, chunk = grouping.divide(problem.metadata, window=20)
    # The last token, 99, sees from 80 on: block 5. The chunk's first, 96, sees from 77 on: block 4.
    assert (decode.first_key.tolist(), decode.num_keys.tolist(), decode.block_tables.shape) == ([80], [20], (1, 2))
    assert (chunk.first_key.tolist(), chunk.num_keys.tolist(), chunk.block_tables.shape) == ([64], [36], (1, 3))


def test_layers_of_one_step_may_differ_in_window_and_cap() -> None:
    problem = make_problem(Shape([(1, 30), (6, 20)], 2, 2, 4, 4))
    step = TorchAttention().plan(problem.metadata)
    for spec in (AttentionSpec(0.5), AttentionSpec(0.5, window=3), AttentionSpec(0.5, softcap=2.0), AttentionSpec(0.5)):
        out = torch.empty(problem.q.shape)
        step(problem.q, problem.cache.k, problem.cache.v, spec, out)
        torch.testing.assert_close(out, attend_naively(problem, spec), atol=1e-5, rtol=1e-4)


def test_a_broken_sequence_does_not_spoil_its_neighbours() -> None:
    problem = make_problem(Shape([(1, 5), (1, 40)], 1, 1, 4, 4))
    last_block = int(problem.metadata.block_tables[1, 10])
    problem.cache.v[last_block] = torch.nan
    assert attend(TorchAttention(), problem, AttentionSpec(1.0))[0].isfinite().all()

"""Where keys and values go."""

import pytest
import torch

from stoker_worker.attention.base import Capabilities
from stoker_worker.attention.kv_cache import LayerCache


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_slots_count_through_blocks_and_nothing_else_changes(dtype: torch.dtype) -> None:
    cache = LayerCache.allocate((3, 4, 2, 5), dtype)
    k, v = torch.randn(2, 2, 5).to(dtype), torch.randn(2, 2, 5).to(dtype)
    cache.write(k, v, torch.tensor([9, 2]))
    assert cache.block_size == 4
    assert torch.equal(cache.k[2, 1], k[0])
    assert torch.equal(cache.v[0, 2], v[1])
    assert cache.k.count_nonzero() == cache.v.count_nonzero() == 20


@pytest.mark.parametrize(
    ("capabilities", "reason"),
    [
        (Capabilities(), None),
        (Capabilities(frozenset({64, 128}), frozenset({16}), frozenset({torch.float32})), None),
        (Capabilities(head_dims=frozenset({80})), "heads of 64 dimensions; it takes [80]"),
        (Capabilities(block_sizes=frozenset({256})), "KV blocks of 16 tokens; it takes [256]"),
        (Capabilities(dtypes=frozenset({torch.bfloat16})), "type torch.float32; it takes ['torch.bfloat16']"),
    ],
)
def test_a_backend_says_why_it_refuses(capabilities: Capabilities, reason: str | None) -> None:
    assert capabilities.refusal(head_dim=64, block_size=16, dtype=torch.float32) == reason

"""KV is sized from what was asked for, what the model can use, and what is free."""

import pytest

from stoker_worker.engine.memory import KvPlan, TooLittleMemory, plan_kv

TOKEN = 46_080  # bytes per token of SmolLM2-135M in fp32


@pytest.mark.parametrize(
    ("available_gib", "kv_tokens", "max_context", "plan"),
    [
        (16, 0, 0, KvPlan(546, 16, 8192)),
        (16, 0, 2048, KvPlan(546, 16, 2048)),
        (16, 4096, 0, KvPlan(256, 16, 4096)),
        (0.25, 0, 0, KvPlan(182, 16, 2912)),
        (16, 100_000, 0, KvPlan(6250, 16, 8192)),
    ],
)
def test_blocks(available_gib: float, kv_tokens: int, max_context: int, plan: KvPlan) -> None:
    available = int(available_gib * 2**30)
    assert plan_kv(TOKEN, 8192, available, block_size=16, kv_tokens=kv_tokens, max_context=max_context) == plan


@pytest.mark.parametrize(("available", "kv_tokens"), [(0, 0), (10**6, 100), (10**9, 100_000)])
def test_too_little_memory_says_how_much_is_needed_and_what_to_change(available: int, kv_tokens: int) -> None:
    with pytest.raises(TooLittleMemory, match=r"need .* GiB .* --kv-tokens"):
        plan_kv(TOKEN, 8192, available, block_size=16, kv_tokens=kv_tokens, max_context=0)

"""Prompts are cut so that decodes beside them are not stretched too far, and share what there is fairly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.scheduling.pacing import PrefillPacer, StepCost, fair_shares


@pytest.mark.parametrize(
    ("wanted", "budget", "smallest", "shares"),
    [
        ([100], 512, 32, [100]),
        ([1000, 1000], 512, 32, [256, 256]),
        ([1000, 100], 512, 32, [412, 100]),
        ([1000, 1000, 1000], 64, 32, [32, 32, 0]),
        ([5, 1000, 7], 512, 32, [5, 500, 7]),
        ([], 512, 32, []),
        ([10, 10], 0, 32, [0, 0]),
    ],
)
def test_shares(wanted: list[int], budget: int, smallest: int, shares: list[int]) -> None:
    assert fair_shares(wanted, budget, smallest) == shares


@given(st.lists(st.integers(0, 3000), max_size=20), st.integers(0, 2048), st.integers(1, 64))
def test_shares_use_the_whole_budget_and_no_more(wanted: list[int], budget: int, smallest: int) -> None:
    shares = fair_shares(wanted, budget, smallest)
    assert sum(shares) == min(budget, sum(wanted))
    assert all(0 <= share <= want for share, want in zip(shares, wanted, strict=True))


def test_the_cost_of_a_step_is_learned_as_a_line() -> None:
    cost = StepCost()
    for tokens in (1, 8, 33, 100, 512):
        cost.observe(tokens, 0.03 + 0.002 * tokens)
    assert cost.fit() == pytest.approx((0.03, 0.002))


@pytest.mark.parametrize(("rows", "budget"), [(0, 512), (1, 32), (8, 34), (32, 70), (500, 12)])
def test_prompts_beside_decodes_stretch_a_step_to_two_and_a_half_at_most(rows: int, budget: int) -> None:
    pacer = PrefillPacer(512)
    for tokens in (1, 16, 64):
        pacer.cost.observe(tokens, 0.03 + 0.002 * tokens)
    assert pacer.prefill_budget(rows) == pytest.approx(budget, abs=1)


def test_a_device_nothing_is_known_of_gets_the_smallest_prompt_chunk() -> None:
    assert PrefillPacer(512).prefill_budget(4) == 32


def test_steps_that_are_all_alike_do_not_break_the_fit() -> None:
    pacer = PrefillPacer(512)
    for _ in range(100):
        pacer.cost.observe(8, 0.05)
    assert pacer.prefill_budget(8) == 32

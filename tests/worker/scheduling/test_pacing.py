"""Prompts are cut so that decodes beside them are not stretched too far, and share what there is fairly."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.scheduling.pacing import PrefillPacer, StepCost, Work, fair_shares


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


def steps(cost: StepCost, works: list[Work], fixed_s: float, token_s: float, key_s: float) -> StepCost:
    for work in works:
        cost.observe(work, fixed_s + token_s * work.tokens + key_s * work.keys)
    return cost


VARIED = [Work(1, 30), Work(8, 800), Work(8, 9000), Work(100, 5000), Work(512, 131_000), Work(64, 200_000)]


@given(fixed_s=st.floats(1e-4, 0.1), token_s=st.floats(1e-6, 0.01), key_s=st.floats(1e-8, 1e-5), seed=st.randoms())
def test_the_cost_of_a_step_is_learned_from_steps_that_differ(
    fixed_s: float, token_s: float, key_s: float, seed: Random
) -> None:
    works = [seed.choice(VARIED) for _ in range(100)] + VARIED * 40
    cost = steps(StepCost(), works, fixed_s, token_s, key_s)
    for work in VARIED:
        expected = fixed_s + token_s * work.tokens + key_s * work.keys
        assert cost.of(work) == pytest.approx(expected, rel=0.05, abs=1e-4)


def test_what_was_learned_outlives_steps_that_are_all_alike() -> None:
    cost = steps(StepCost(), VARIED * 50, 0.03, 0.002, 1e-6)
    steps(cost, [Work(8, 1000)] * 1000, 0.03, 0.002, 1e-6)
    assert cost.of(Work(512, 131_000)) == pytest.approx(0.03 + 512 * 0.002 + 0.131, rel=0.1)


def test_a_device_that_becomes_slower_is_noticed() -> None:
    cost = steps(StepCost(), VARIED * 50, 0.03, 0.002, 1e-6)
    steps(cost, VARIED * 50, 0.06, 0.004, 2e-6)
    assert cost.of(Work(8, 800)) == pytest.approx(0.06 + 8 * 0.004 + 0.0016, rel=0.1)


def learned(pacer: PrefillPacer, fixed_s: float, token_s: float, key_s: float) -> PrefillPacer:
    steps(
        pacer.ordinary,
        [Work(rows, rows * keys) for rows in (1, 8, 30) for keys in (50, 900)] * 50,
        fixed_s,
        token_s,
        key_s,
    )
    steps(pacer.mixed, VARIED * 50, fixed_s, token_s, key_s)
    return pacer


@pytest.mark.parametrize("rows", [1, 8, 32])
@pytest.mark.parametrize("start", [0, 500, 1500])
def test_prompts_beside_decodes_stretch_a_step_as_far_as_they_may(rows: int, start: int) -> None:
    pacer = learned(PrefillPacer(4096), 0.03, 0.0005, 1e-6)
    decodes = Work.of_rows([200] * rows)
    budget = pacer.prefill_budget(decodes, start)
    whole = Work(rows + budget, decodes.keys + budget * start + budget * (budget + 1) // 2)
    assert pacer.mixed.of(whole) / pacer.ordinary.of(decodes) == pytest.approx(pacer.stretch, rel=0.06)
    assert budget > pacer.min_tokens


def test_how_short_ordinary_steps_are_is_not_forgotten_during_a_long_prompt() -> None:
    pacer = learned(PrefillPacer(4096), 0.03, 0.0005, 1e-6)
    decodes = Work.of_rows([200] * 4)
    for start in range(0, 8000, 8):
        work = Work(12, decodes.keys + 8 * start)
        pacer.observe(work, 0.03 + 0.0005 * work.tokens + 1e-6 * work.keys, has_prompts=True)
    assert pacer.ordinary.of(decodes) == pytest.approx(0.0328, rel=0.05)


@pytest.mark.parametrize(("rows", "budget"), [(0, 512), (500, 8), (508, 4), (512, 0)])
def test_a_budget_is_what_decodes_leave(rows: int, budget: int) -> None:
    assert PrefillPacer(512).prefill_budget(Work.of_rows([10] * rows), 0) == budget


def test_a_device_nothing_is_known_of_gets_the_smallest_prompt_chunk() -> None:
    assert PrefillPacer(512).prefill_budget(Work.of_rows([9] * 4), 0) == 8


def test_prompts_make_progress_however_dear_their_tokens_are() -> None:
    assert learned(PrefillPacer(512), 0.0, 0.1, 1e-3).prefill_budget(Work.of_rows([0]), 8000) == 8

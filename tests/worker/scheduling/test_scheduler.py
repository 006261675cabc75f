"""The scheduler under any sequence of arrivals, steps, aborts and finishes, and in the situations that matter."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stoker_worker.scheduling.blocks import BlockPool
from stoker_worker.scheduling.pacing import PrefillPacer, Work
from stoker_worker.scheduling.planner import build_plan
from stoker_worker.scheduling.scheduler import ScheduledRow, Scheduler, SchedulerLimits
from stoker_worker.scheduling.sequence import Sequence, SequenceGroup, SequenceState

BLOCK = 16


def make_scheduler(blocks: int = 64, sequences: int = 8, tokens: int = 128) -> Scheduler:
    return Scheduler(BlockPool(blocks), SchedulerLimits(BLOCK, sequences), PrefillPacer(tokens))


def make_sequences(
    prompt: list[int], arrival: int, *, n: int = 1, priority: int = 0, salt: bytes = b""
) -> list[Sequence]:
    return SequenceGroup(prompt, priority, arrival, n, salt).sequences({})


def run_step(scheduler: Scheduler, token: int = 7) -> list[ScheduledRow]:
    """Schedule, settle, and give every sequence that reached its end a next token."""
    rows = scheduler.schedule()
    scheduler.settle(rows)
    for row in rows:
        if row.reaches_end:
            row.sequence.token_ids.append(token)
    return rows


def test_a_long_prompt_is_cut_and_decodes_go_on_beside_it() -> None:
    scheduler = make_scheduler()
    (short,) = make_sequences([1] * 10, 0)
    (long,) = make_sequences([2] * 400, 1)
    scheduler.add(short)
    run_step(scheduler)
    scheduler.add(long)
    while long.num_computed < 400:
        rows = run_step(scheduler)
        assert [row.sequence for row in rows] == [short, long]
        assert rows[0].count == 1


def test_a_second_request_with_the_same_prompt_computes_only_the_last_block() -> None:
    scheduler = make_scheduler()
    first, second = (make_sequences(list(range(100)), arrival)[0] for arrival in (0, 1))
    scheduler.add(first)
    run_step(scheduler)
    scheduler.add(second)
    rows = run_step(scheduler)
    assert {row.sequence: row.count for row in rows} == {first: 1, second: 4}
    assert second.num_cached == 96
    assert second.blocks[:6] == first.blocks[:6]


def test_another_salt_shares_nothing() -> None:
    scheduler = make_scheduler()
    (first,), (second,) = make_sequences([3] * 64, 0, salt=b"a"), make_sequences([3] * 64, 1, salt=b"b")
    scheduler.add(first)
    run_step(scheduler)
    scheduler.add(second)
    run_step(scheduler)
    assert second.num_cached == 0
    assert not set(first.blocks) & set(second.blocks)


def test_choices_of_one_request_wait_for_the_first_and_share_its_prompt() -> None:
    scheduler = make_scheduler()
    choices = make_sequences(list(range(50)), 0, n=3)
    for sequence in choices:
        scheduler.add(sequence)
    assert [row.sequence for row in run_step(scheduler)] == choices[:1]
    rows = run_step(scheduler)
    assert {row.sequence: row.count for row in rows} == {choices[0]: 1, choices[1]: 2, choices[2]: 2}
    assert choices[0].blocks[:3] == choices[1].blocks[:3] == choices[2].blocks[:3]


def test_when_blocks_run_out_the_latest_yields_and_comes_back() -> None:
    scheduler = make_scheduler(blocks=4, sequences=2)
    early, late = make_sequences([1] * 30, 0)[0], make_sequences([2] * 20, 1, salt=b"other")[0]
    scheduler.add(early)
    scheduler.add(late)
    while late.state is not SequenceState.WAITING or late.times_admitted == 0:
        run_step(scheduler)
    assert early.state is SequenceState.RUNNING
    assert late.blocks == []
    assert scheduler.num_preemptions == 1
    scheduler.finish(early)
    known = len(late.token_ids)
    (row,) = run_step(scheduler)
    assert (row.sequence, row.start + row.count) == (late, known)


def test_a_better_priority_takes_the_place_of_a_worse_one() -> None:
    scheduler = make_scheduler(sequences=1)
    ordinary, urgent = make_sequences([1] * 10, 0)[0], make_sequences([2] * 10, 1, priority=-1)[0]
    scheduler.add(ordinary)
    run_step(scheduler)
    scheduler.add(urgent)
    assert [row.sequence for row in run_step(scheduler)] == [urgent]
    assert ordinary.state is SequenceState.WAITING


def test_equal_priorities_are_served_in_order_of_arrival() -> None:
    scheduler = make_scheduler(sequences=1)
    sequences = [make_sequences([n] * 10, n)[0] for n in range(4)]
    for sequence in reversed(sequences):
        scheduler.add(sequence)
    served = []
    for _ in sequences:
        (row,) = run_step(scheduler)
        served.append(row.sequence)
        scheduler.finish(row.sequence)
    assert served == sequences


def test_a_finished_sequence_cannot_move_again() -> None:
    (sequence,) = make_sequences([1], 0)
    sequence.move_to(SequenceState.FINISHED)
    with pytest.raises(ValueError, match="cannot go from finished to running"):
        sequence.move_to(SequenceState.RUNNING)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 40)), min_size=1, max_size=6))
def test_a_plan_lays_rows_out_one_after_the_other(shapes: list[tuple[int, int]]) -> None:
    rows = []
    for index, (count, start) in enumerate(shapes):
        (sequence,) = make_sequences(list(range(start + count)), index)
        sequence.blocks = [100 * index + block for block in range(-(-(start + count) // BLOCK))]
        rows.append(ScheduledRow(sequence, start, count))
    plan = build_plan(rows, BLOCK)
    for index, row in enumerate(rows):
        span = slice(plan.query_starts[index], plan.query_starts[index + 1])
        positions = list(range(row.start, row.start + row.count))
        assert plan.positions[span].tolist() == positions
        assert plan.token_ids[span].tolist() == positions
        assert plan.slots[span].tolist() == [row.sequence.blocks[p // BLOCK] * BLOCK + p % BLOCK for p in positions]
        assert plan.context_lens[index] == row.start + row.count
    assert plan.logits_rows.tolist() == [end - 1 for end in plan.query_starts[1:]]


class SchedulerMachine(RuleBasedStateMachine):
    """Random traffic over a pool that is too small for it."""

    @initialize(blocks=st.integers(12, 40), sequences=st.integers(1, 6), tokens=st.sampled_from([8, 33, 128]))
    def start(self, blocks: int, sequences: int, tokens: int) -> None:
        self.pool = BlockPool(blocks)
        self.tokens = tokens
        self.pacer = PrefillPacer(tokens, min_tokens=5)
        self.scheduler = Scheduler(self.pool, SchedulerLimits(BLOCK, sequences), self.pacer)
        self.live: list[Sequence] = []
        self.arrivals = 0
        self.finish_at: dict[Sequence, int] = {}

    @precondition(lambda self: len(self.live) < 20)
    @rule(
        length=st.integers(1, 90),
        alphabet=st.integers(1, 2),
        n=st.integers(1, 3),
        output=st.integers(1, 60),
        priority=st.integers(-1, 1),
        echo=st.booleans(),
    )
    def arrive(self, length: int, alphabet: int, n: int, output: int, priority: int, echo: bool) -> None:
        group = SequenceGroup(
            [alphabet] * length, priority, self.arrivals, n, b"", wants_prompt_logits=echo and length > 1
        )
        self.arrivals += 1
        for sequence in group.sequences({}):
            self.scheduler.add(sequence)
            self.live.append(sequence)
            self.finish_at[sequence] = length + output

    @rule(step_s=st.floats(0.001, 1.0))
    def step(self, step_s: float) -> None:
        rows = self.scheduler.schedule()
        self.check_rows(rows)
        self.scheduler.settle(rows)
        tokens = sum(row.count for row in rows) or 1
        work = Work(tokens, sum(row.start * row.count for row in rows) + tokens)
        self.pacer.observe(work, step_s, has_prompts=tokens > len(rows))
        for row in rows:
            if row.reaches_end:
                row.sequence.wants_prompt_logits = False
                row.sequence.token_ids.append(len(row.sequence.token_ids) % 3)
                if len(row.sequence.token_ids) >= self.finish_at[row.sequence]:
                    self.remove(row.sequence)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.remove(data.draw(st.sampled_from(self.live)))

    @invariant()
    def books_add_up(self) -> None:
        if hasattr(self, "scheduler"):
            assert self.scheduler.check() == []

    def teardown(self) -> None:
        """Whatever happened: everything still live finishes in bounded time, and every block is free again."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(20_000):
            if not self.live:
                break
            self.step(0.01)
        assert not self.live, "a sequence starved"
        assert self.pool.num_free == self.pool.num_blocks

    def remove(self, sequence: Sequence) -> None:
        self.scheduler.finish(sequence)
        self.live.remove(sequence)

    def check_rows(self, rows: list[ScheduledRow]) -> None:
        assert sum(row.count for row in rows) <= self.tokens
        assert rows or not self.live, "nothing runs although something waits"
        assert len({row.sequence for row in rows}) == len(rows)
        written = Counter[int]()
        for row in rows:
            sequence = row.sequence
            assert sequence.state is SequenceState.RUNNING
            assert 0 < row.count <= len(sequence.token_ids) - row.start
            assert row.start == sequence.num_computed
            assert len(sequence.blocks) * BLOCK >= row.start + row.count
            written.update({sequence.blocks[p // BLOCK] for p in range(row.start, row.start + row.count)})
        assert not [block for block, writers in written.items() if writers > 1], "two sequences write one block"
        for row in rows:
            shared = [block for block in row.sequence.blocks if self.pool.lookup(self.key_of(block)) == block]
            assert not set(shared) & set(written), "a published block is written"

    def key_of(self, block: int) -> bytes:
        return self.pool._keys[block] or b"none"


SchedulerMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRandomTraffic = SchedulerMachine.TestCase

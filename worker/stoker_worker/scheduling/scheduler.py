"""Which sequences run in the next step, and how many tokens each.

There are no phases: every sequence catches its computed tokens up to its known tokens under one budget. Decoding is one
uncomputed token, a prompt is many, a prefix hit is tokens that count as computed, preemption sets the count back to none.
"""

from bisect import insort
from collections import Counter
from dataclasses import dataclass

from stoker_worker.scheduling.blocks import BlockPool
from stoker_worker.scheduling.pacing import PrefillPacer, Work, fair_shares
from stoker_worker.scheduling.sequence import Sequence, SequenceState

PROMPT_LOGITS_CHUNK = 64  # tokens


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """block_size in tokens, a multiple of the chain unit; max_sequences run at once."""

    block_size: int
    max_sequences: int


@dataclass(frozen=True, slots=True)
class ScheduledRow:
    """`count` tokens of `sequence`, from position `start`."""

    sequence: Sequence
    start: int
    count: int

    @property
    def reaches_end(self) -> bool:
        """All known tokens are computed after this step: a new one can be sampled."""
        return self.start + self.count == len(self.sequence.token_ids)


class Scheduler:
    """Owns the waiting and running sequences and their blocks. Never looks at a clock or a device."""

    def __init__(self, pool: BlockPool, limits: SchedulerLimits, pacer: PrefillPacer) -> None:
        assert limits.max_sequences <= pacer.max_tokens, "every running sequence may need a token of the budget"
        self._pool = pool
        self._limits = limits
        self._pacer = pacer
        self._waiting: list[Sequence] = []  # both lists are kept in `order`
        self._running: list[Sequence] = []
        self.num_preemptions = 0

    @property
    def num_waiting(self) -> int:
        """Sequences without blocks."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Sequences with blocks."""
        return len(self._running)

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence."""
        insort(self._waiting, sequence, key=_order)

    def schedule(self) -> list[ScheduledRow]:
        """Plan one step: decodes first, then prompts under the pacer's budget. Empty if nothing can run."""
        rows = self._schedule_decodes()
        furthest = max((s.num_computed for s in self._running if s.is_prefilling), default=0)
        budget = self._pacer.prefill_budget(Work.of_rows([row.start for row in rows]), furthest)
        self._admit(budget)
        decoding = {row.sequence.order for row in rows}
        prefilling = [sequence for sequence in self._running if sequence.order not in decoding]
        shares = fair_shares([_wanted(sequence) for sequence in prefilling], budget, self._pacer.min_tokens)
        for sequence, share in zip(prefilling, shares, strict=True):
            if share and sequence.state is SequenceState.RUNNING and self._make_room(sequence, share):
                rows.append(ScheduledRow(sequence, sequence.num_computed, share))
        # Making room for one row may have preempted another that was planned before it.
        return [row for row in rows if row.sequence.state is SequenceState.RUNNING]

    def settle(self, rows: list[ScheduledRow]) -> None:
        """Count what a step computed, and make full blocks findable. Sequences that ended meanwhile are passed over."""
        for row in rows:
            sequence = row.sequence
            if sequence.state is SequenceState.RUNNING:
                sequence.num_computed = row.start + row.count
                self._publish(sequence)

    def finish(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is, and free its blocks."""
        if sequence.state is SequenceState.RUNNING:
            self._running.remove(sequence)
        elif sequence.state is SequenceState.WAITING:
            self._waiting.remove(sequence)
        sequence.move_to(SequenceState.FINISHED)
        self._free_blocks(sequence)

    def check(self) -> list[str]:
        """Compare the pool's books with what sequences hold; returns what does not add up."""
        held = Counter(block for sequence in self._running for block in sequence.blocks)
        leaked = [f"a waiting sequence holds {len(s.blocks)} blocks" for s in self._waiting if s.blocks]
        return self._pool.check(held) + leaked

    def _schedule_decodes(self) -> list[ScheduledRow]:
        rows = []
        for sequence in list(self._running):
            decoding = sequence.state is SequenceState.RUNNING and not sequence.is_prefilling
            if decoding and sequence.num_computed and self._make_room(sequence, 1):
                rows.append(ScheduledRow(sequence, sequence.num_computed, 1))
        return [row for row in rows if row.sequence.state is SequenceState.RUNNING]

    def _admit(self, budget: int) -> None:
        """Move waiting sequences to running, in order, while slots, budget and blocks last."""
        wanted = sum(_wanted(s) for s in self._running if s.is_prefilling)
        for sequence in list(self._waiting):
            if wanted >= budget:
                return
            if sequence.waits_for_leader:
                continue
            self._outrank(sequence)
            if len(self._running) >= self._limits.max_sequences or not self._take_prefix(sequence):
                return
            self._waiting.remove(sequence)
            sequence.move_to(SequenceState.RUNNING)
            sequence.times_admitted += 1
            insort(self._running, sequence, key=_order)
            wanted += _wanted(sequence)

    def _outrank(self, sequence: Sequence) -> None:
        """Preempt running sequences of a worse priority until `sequence` can be admitted (or none is left)."""
        while self._running and self._running[-1].order.priority > sequence.order.priority:
            fits = self._blocks_for(len(sequence.token_ids)) <= self._pool.num_free - self._spare_blocks()
            if fits and len(self._running) < self._limits.max_sequences:
                return
            self._preempt(self._running[-1])

    def _take_prefix(self, sequence: Sequence) -> bool:
        """Hold the cached blocks that `sequence` begins with; False (and nothing held) if the rest would not fit."""
        found = self._find_prefix(sequence)
        total = self._blocks_for(len(sequence.token_ids))
        revived = sum(self._pool.is_free(block) for block in found)
        if total - len(found) > self._pool.num_free - revived - self._spare_blocks():
            return False
        for block in found:
            self._pool.hold(block)
        sequence.blocks = found
        sequence.num_published = len(found)
        sequence.num_computed = len(found) * self._limits.block_size
        if sequence.times_admitted == 0:
            sequence.num_cached = min(sequence.num_computed, sequence.num_prompt)
        return True

    def _find_prefix(self, sequence: Sequence) -> list[int]:
        """Blocks whose keys match; never all of the tokens, since the last one must be computed for its logits."""
        if sequence.wants_prompt_logits:
            return []
        found: list[int] = []
        for index in range((len(sequence.token_ids) - 1) // self._limits.block_size):
            block = self._pool.lookup(sequence.block_key(index, self._limits.block_size))
            if block is None:
                break
            found.append(block)
        return found

    def _spare_blocks(self) -> int:
        """Blocks kept for running sequences to grow into, so that admitting one does not soon preempt another."""
        return min(len(self._running), self._pool.num_blocks // 16)

    def _make_room(self, sequence: Sequence, count: int) -> bool:
        """Give `sequence` blocks for `count` more tokens, preempting later ones; False if it had to yield itself."""
        missing = self._blocks_for(sequence.num_computed + count) - len(sequence.blocks)
        while missing > self._pool.num_free:
            victim = self._running[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.blocks.extend(self._pool.allocate() for _ in range(missing))
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Take all blocks back; the tokens stay known and are computed again later (or found in the prefix cache)."""
        self._running.remove(sequence)
        self._free_blocks(sequence)
        sequence.move_to(SequenceState.WAITING)
        insort(self._waiting, sequence, key=_order)
        self.num_preemptions += 1

    def _free_blocks(self, sequence: Sequence) -> None:
        self._pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.num_computed = 0
        sequence.num_published = 0

    def _publish(self, sequence: Sequence) -> None:
        full = sequence.num_computed // self._limits.block_size
        for index in range(sequence.num_published, full):
            self._pool.publish(sequence.blocks[index], sequence.block_key(index, self._limits.block_size))
        sequence.num_published = max(sequence.num_published, full)

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self._limits.block_size)


def _wanted(sequence: Sequence) -> int:
    """Tokens that a prompt can use in one step: logits of whole prompts are large, so those come in small chunks."""
    return (
        min(sequence.num_uncomputed, PROMPT_LOGITS_CHUNK) if sequence.wants_prompt_logits else sequence.num_uncomputed
    )


def _order(sequence: Sequence) -> tuple[int, int, int]:
    order = sequence.order
    return (order.priority, order.arrival, order.choice)

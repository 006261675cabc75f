"""A request and its choices, as scheduling sees them: token counts, blocks, states."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from stoker_core.blocks import CHAIN_UNIT, chain_root, chain_step


class SequenceState(Enum):
    """Where a sequence is. WAITING holds no blocks; RUNNING does."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


# RUNNING → WAITING is preemption.
MOVES = {
    SequenceState.WAITING: {SequenceState.RUNNING, SequenceState.FINISHED},
    SequenceState.RUNNING: {SequenceState.WAITING, SequenceState.FINISHED},
    SequenceState.FINISHED: set[SequenceState](),
}


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """Who goes first: smaller priority, then earlier arrival, then smaller choice. Unique per sequence."""

    priority: int
    arrival: int
    choice: int


@dataclass(slots=True, eq=False)
class Sequence:
    """One choice of one request.

    token_ids     prompt and output known so far; the engine appends
    num_computed  leading tokens whose keys and values are in blocks
    num_cached    prompt tokens found in the prefix cache when it was first admitted, in tokens
    blocks        KV blocks in order; they cover at least num_computed tokens
    leader        the choice whose prompt this one waits for and then shares; None for choice 0
    """

    order: Order
    token_ids: list[int]
    num_prompt: int
    root: bytes
    leader: "Sequence | None" = None
    wants_prompt_logits: bool = False
    state: SequenceState = SequenceState.WAITING
    num_computed: int = 0
    num_cached: int = 0
    num_published: int = 0  # leading blocks whose keys the pool knows
    times_admitted: int = 0
    blocks: list[int] = field(default_factory=list)
    _keys: list[bytes] = field(default_factory=list)

    def move_to(self, state: SequenceState) -> None:
        """Change state. Raises ValueError for a move that is not legal."""
        if state not in MOVES[self.state]:
            raise ValueError(f"a sequence cannot go from {self.state.value} to {state.value}")
        self.state = state

    @property
    def num_uncomputed(self) -> int:
        """Known tokens still to be computed; 1 while decoding."""
        return len(self.token_ids) - self.num_computed

    @property
    def is_prefilling(self) -> bool:
        """More than the next token's input is still to be computed."""
        return self.num_uncomputed > 1

    @property
    def waits_for_leader(self) -> bool:
        """The leader is still computing the prompt that both share."""
        leader = self.leader
        return (
            leader is not None
            and leader.state is not SequenceState.FINISHED
            and self.times_admitted == 0
            and leader.num_computed < leader.num_prompt
            and leader.times_admitted <= 1
        )

    def block_key(self, index: int, block_size: int) -> bytes:
        """The prefix-cache key of full block `index`; all tokens of the block must be known."""
        units = (index + 1) * (block_size // CHAIN_UNIT)
        while len(self._keys) < units:
            start = len(self._keys) * CHAIN_UNIT
            previous = self._keys[-1] if self._keys else self.root
            self._keys.append(chain_step(previous, self.token_ids[start : start + CHAIN_UNIT]))
        return self._keys[units - 1]


@dataclass(frozen=True, slots=True)
class SequenceGroup:
    """How a request's choices are made into sequences."""

    prompt: list[int]
    priority: int
    arrival: int
    n: int
    cache_salt: bytes
    adapter_digest: bytes = b""
    wants_prompt_logits: bool = False

    def sequences(self, resumed: dict[int, list[int]], finished: Iterable[int] = ()) -> list[Sequence]:
        """Make the sequences of all choices but the finished ones; `resumed` tokens follow the prompt."""
        root = chain_root(self.cache_salt, self.adapter_digest)
        skip = set(finished)
        made: list[Sequence] = []
        for choice in range(self.n):
            if choice in skip:
                continue
            made.append(
                Sequence(
                    order=Order(self.priority, self.arrival, choice),
                    token_ids=[*self.prompt, *resumed.get(choice, ())],
                    num_prompt=len(self.prompt),
                    root=root,
                    leader=made[0] if made else None,
                    wants_prompt_logits=self.wants_prompt_logits and not made,
                )
            )
        return made

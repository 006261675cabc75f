"""Prompts that are random, reproducible, and of a known length in tokens.

Text is made of short common English words, which nearly every vocabulary has as one token each; what remains of the
difference is measured once per server (`Calibration`). Token-id prompts need no such thing.
"""

import random
from dataclasses import dataclass
from enum import StrEnum

# Ids that any vocabulary of a language model has and that are ordinary tokens in it: past control tokens and single
# bytes, below the smallest vocabularies in use (32,000).
TOKEN_IDS = range(1_000, 30_000)

_COMMON = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which
one you were all her she there would their we him been has when who will no more if out so up said what its
about than into them can only other time new some could these two may first then do any like my now over such
our man me even most made after also did many off before must well back through years where much your way down
should because long each just state those people too how little good world make very year still see work
own men day get here old between both life being under three never know same last another while us might great
go come since against right came take used house few use place during high without again home around
small however found part school general once upon say every war going until water left public put think head
far side fact hand light turn point city form order help night room line church field music kind power
law love need
"""
WORDS = tuple(_COMMON.split())


class PromptKind(StrEnum):
    """What is put into a request."""

    CHAT = "chat"  # text as a user message
    TEXT = "text"  # text to be completed
    TOKENS = "tokens"  # token ids to be completed


@dataclass(frozen=True, slots=True)
class Calibration:
    """tokens ≈ fixed + per_word · words, as one server counts them (a chat template is part of `fixed`)."""

    fixed: float = 0.0
    per_word: float = 1.0

    @classmethod
    def through(cls, first: tuple[int, int], second: tuple[int, int]) -> "Calibration":
        """The line through two (words, tokens) that differ in words; one that makes no sense is not believed."""
        per_word = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - per_word * first[0], per_word) if per_word > 0 else cls()

    def words(self, tokens: int) -> int:
        """How many words make `tokens` tokens; at least one."""
        return max(1, round((tokens - self.fixed) / self.per_word))


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """Makes prompt number i of a run: equal (seed, i) give equal prompts on any machine.

    tokens          length of a prompt; of text: as `calibration` has it
    shared_tokens   so many at the beginning are the same in all prompts
    """

    kind: PromptKind
    tokens: int
    seed: int = 0
    shared_tokens: int = 0
    calibration: Calibration = Calibration()

    def make(self, index: int) -> str | list[int]:
        """Prompt number `index` of this kind."""
        return self.token_ids(index) if self.kind is PromptKind.TOKENS else self.text(index)

    def token_ids(self, index: int) -> list[int]:
        """Prompt number `index` as token ids."""
        return [TOKEN_IDS[draw] for draw in self._draws(index, self.tokens, len(TOKEN_IDS))]

    def text(self, index: int) -> str:
        """Prompt number `index` as text."""
        return " ".join(WORDS[draw] for draw in self._draws(index, self.calibration.words(self.tokens), len(WORDS)))

    def _draws(self, index: int, length: int, choices: int) -> list[int]:
        shared = min(self.shared_tokens, length)
        draws = _numbers(f"{self.seed} shared", shared, choices)
        return draws + _numbers(f"{self.seed} {index}", length - shared, choices)


def _numbers(seed: str, count: int, choices: int) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(choices) for _ in range(count)]

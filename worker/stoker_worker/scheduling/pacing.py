"""How many prompt tokens may ride beside running decodes, so that nobody's next token waits long."""

import math
from dataclasses import dataclass, field

import numpy as np

from stoker_worker.scheduling.plan import Float64

FORGETTING = 0.99  # weight that an observation keeps per later one
INERTIA = 0.01  # pull of the last fit, in shares of what was observed: what recent steps do not tell stays as it was


@dataclass(frozen=True, slots=True)
class Work:
    """What a step has to do.

    tokens  computed
    keys    that they attend to, summed over the tokens
    """

    tokens: int
    keys: int

    @classmethod
    def of_rows(cls, starts: list[int]) -> "Work":
        """Decodes at the positions `starts`."""
        return cls(len(starts), sum(starts) + len(starts))


class StepCost:
    """Fitted to finished steps: seconds = fixed_s + token_s · tokens + key_s · keys, by least squares that forget.

    The keys are what tells a prompt's last chunk from its first: at 4,000 tokens of context a token can cost three times as much.
    """

    def __init__(self) -> None:
        self._gram: Float64 = np.zeros((3, 3))
        self._moments: Float64 = np.zeros(3)
        self._fit: Float64 = np.zeros(3)

    def observe(self, work: Work, step_s: float) -> None:
        """Learn from a finished step."""
        features = np.array((1.0, work.tokens, work.keys))
        self._gram = self._gram * FORGETTING + np.outer(features, features)
        self._moments = self._moments * FORGETTING + features * step_s
        inertia = INERTIA * np.diag(self._gram)
        fit = np.linalg.solve(self._gram + np.diag(inertia), self._moments + inertia * self._fit)
        self._fit = fit.clip(0)

    @property
    def fit(self) -> tuple[float, float, float]:
        """(fixed_s, token_s, key_s), none negative; zeros before the first step."""
        fixed_s, token_s, key_s = self._fit.tolist()
        return fixed_s, token_s, key_s

    def of(self, work: Work) -> float:
        """Seconds that a step is expected to take."""
        fixed_s, token_s, key_s = self.fit
        return fixed_s + token_s * work.tokens + key_s * work.keys


@dataclass(slots=True)
class PrefillPacer:
    """Cuts prompts so that a step with prompt tokens takes about `stretch` steps with the decodes alone.

    Steps without prompts have a fit of their own: while a long prompt is computed there are none, and a common fit would
    forget how short they were.

    min_tokens  progress that prompts make in any step
    max_tokens  the device's token budget, used whole when nothing decodes
    stretch     less than what users are promised (three), since steps of the same work vary
    """

    max_tokens: int
    min_tokens: int = 8
    stretch: float = 1.75
    ordinary: StepCost = field(default_factory=StepCost)
    mixed: StepCost = field(default_factory=StepCost)

    def observe(self, work: Work, step_s: float, *, has_prompts: bool) -> None:
        """Learn from a finished step."""
        self.mixed.observe(work, step_s)
        if not has_prompts:
            self.ordinary.observe(work, step_s)

    def prefill_budget(self, decodes: Work, start: int) -> int:
        """Prompt tokens for the next step beside `decodes`, where the furthest prompt has come to `start`."""
        room = self.max_tokens - decodes.tokens
        if decodes.tokens == 0:
            return room
        return min(room, max(self.min_tokens, int(self._affordable(decodes, start))))

    def _affordable(self, decodes: Work, start: int) -> float:
        """The c that solves spare = c · (token_s + key_s · (start + c/2))."""
        spare_s = max(0.0, self.stretch * self.ordinary.of(decodes) - self.mixed.of(decodes))
        _, token_s, key_s = self.mixed.fit
        first_s = token_s + key_s * start
        return 2 * spare_s / (first_s + math.sqrt(first_s**2 + 2 * key_s * spare_s)) if first_s else 0.0


def fair_shares(wanted: list[int], budget: int, smallest: int) -> list[int]:
    """Divide `budget` tokens among prompts in order: equal shares, what one does not need goes to the others.

    A share is at least `smallest` (or what is wanted), so that late ones may get nothing when many wait: their turn comes
    as the earlier ones finish.
    """
    shares = [0] * len(wanted)
    active = [index for index, want in enumerate(wanted) if want > 0]
    while active and budget > 0:
        share = max(smallest, budget // len(active))
        for index in active:
            given = min(share, wanted[index] - shares[index], budget)
            shares[index] += given
            budget -= given
        active = [index for index in active if shares[index] < wanted[index]]
    return shares

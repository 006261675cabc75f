"""How many prompt tokens may ride beside running decodes, so that nobody's next token waits long."""

from dataclasses import dataclass, field

FORGETTING = 0.97  # weight that an observation keeps per later one


@dataclass(slots=True)
class StepCost:
    """A line fitted to finished steps: seconds = fixed_s + token_s · tokens, by least squares that forget."""

    _n: float = 0.0
    _x: float = 0.0
    _y: float = 0.0
    _xx: float = 0.0
    _xy: float = 0.0

    def observe(self, tokens: int, step_s: float) -> None:
        """Learn from a step of `tokens` tokens."""
        self._n = self._n * FORGETTING + 1
        self._x = self._x * FORGETTING + tokens
        self._y = self._y * FORGETTING + step_s
        self._xx = self._xx * FORGETTING + tokens * tokens
        self._xy = self._xy * FORGETTING + tokens * step_s

    def fit(self) -> tuple[float, float]:
        """(fixed_s, token_s), neither negative; (0, mean cost of a token) while steps were too alike to tell them apart."""
        if self._n == 0:
            return 0.0, 0.0
        spread = self._n * self._xx - self._x * self._x
        if spread > 1e-3 * self._n * self._xx:
            token_s = (self._n * self._xy - self._x * self._y) / spread
            fixed_s = (self._y - token_s * self._x) / self._n
            if token_s > 0 and fixed_s >= 0:
                return fixed_s, token_s
        return 0.0, self._y / self._x


@dataclass(slots=True)
class PrefillPacer:
    """Cuts prompts so that a step with prompt tokens takes no longer than `stretch` steps with the decodes alone.

    min_tokens  progress that prompts make in any step
    max_tokens  the device's token budget, used whole when nothing decodes
    """

    max_tokens: int
    min_tokens: int = 32
    stretch: float = 2.5
    cost: StepCost = field(default_factory=StepCost)

    def prefill_budget(self, decode_rows: int) -> int:
        """Prompt tokens for the next step beside `decode_rows` decoding sequences."""
        room = self.max_tokens - decode_rows
        if decode_rows == 0:
            return room
        fixed_s, token_s = self.cost.fit()
        ordinary = fixed_s / token_s + decode_rows if token_s else 0.0  # a decode step, in units of one token's cost
        return min(room, max(self.min_tokens, int((self.stretch - 1) * ordinary)))


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

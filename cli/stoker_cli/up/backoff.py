"""How long to wait before a process that died is started again."""

from dataclasses import dataclass

FIRST_S = 1.0
LONGEST_S = 30.0
STEADY_S = 60.0  # a process that lived so long is forgiven its earlier deaths


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delay to come; `after` gives the next state."""

    delay_s: float = FIRST_S

    def after(self, lived_s: float) -> "Backoff":
        """The state after a process that lived `lived_s` and was waited for."""
        return Backoff() if lived_s >= STEADY_S else Backoff(min(self.delay_s * 2, LONGEST_S))

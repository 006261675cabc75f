"""Who leads: what to do about a Lease, as this process has seen it change."""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What is done about the Lease now."""

    CREATE = "Create"
    TAKE = "Take"
    RENEW = "Renew"
    WAIT = "Wait"


@dataclass(frozen=True, slots=True)
class Seen:
    """The Lease. `since_s`: when it was first seen like this, by our own clock: those of two machines are never compared."""

    holder: str
    renewed: str
    since_s: float


def decide(me: str, seen: Seen | None, now_s: float, duration_s: float) -> Step:
    """Take a Lease that nobody holds, or whose holder was silent for longer than its duration."""
    if seen is None:
        return Step.CREATE
    if seen.holder == me:
        return Step.RENEW
    if not seen.holder or now_s - seen.since_s > duration_s:
        return Step.TAKE
    return Step.WAIT


def see(before: Seen | None, holder: str, renewed: str, now_s: float) -> Seen:
    """What was read; a Lease that is as it was has been so since then."""
    if before and (before.holder, before.renewed) == (holder, renewed):
        return before
    return Seen(holder, renewed, now_s)

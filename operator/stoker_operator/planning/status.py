"""Status as the API server keeps it: conditions with their history, and what of a change people should be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stoker_operator.api.conditions import Condition, ConditionStatus, Status
from stoker_operator.planning.ladder import READY, Rung

# Reasons that pass by themselves: nobody needs to be told of each.
PROGRESS = frozenset({"Scheduling", "Downloading", "EngineStarting", "WaitingForGateway", "NotReached"})


@dataclass(frozen=True, slots=True)
class Note:
    """An Event about an object."""

    warning: bool
    reason: str
    message: str


def conditions(before: Sequence[Condition], rungs: Sequence[Rung], generation: int, now: str) -> tuple[Condition, ...]:
    """The rungs as conditions; one whose status is as it was keeps its time. `now` is RFC 3339."""
    since = {one.type: one.last_transition_time for one in before if one.last_transition_time}
    was = {one.type: one.status for one in before}
    return tuple(
        Condition(
            rung.type,
            rung.status,
            rung.reason,
            rung.message,
            since.get(rung.type, now) if was.get(rung.type) == rung.status else now,
            generation,
        )
        for rung in rungs
    )


def as_written(status: Status) -> dict[str, Any]:
    """As the API server keeps it: zeros are said, what is not known is left out."""
    made: dict[str, Any] = msgspec.to_builtins(status)
    return {name: value for name, value in made.items() if value is not None}


def note_of(before: Sequence[Condition], after: Sequence[Condition], type_: str = READY) -> Note | None:
    """What to tell people of a transition; None while only time is needed, or nothing has changed."""
    was = next(((one.status, one.reason) for one in before if one.type == type_), None)
    now = next((one for one in after if one.type == type_), None)
    if now is None or (now.status, now.reason) == was or now.reason in PROGRESS:
        return None
    return Note(now.status is not ConditionStatus.TRUE, now.reason, now.message)

"""How a changed plan reaches the replicas of one pool."""

from dataclasses import dataclass
from enum import StrEnum

from stoker_operator.api.deployment import WhenFull


class Step(StrEnum):
    """What is done about a changed plan now."""

    APPLY = "Apply"
    HOLD = "Hold"  # keep the old plan: there is no room for a further replica, and serving fewer is not allowed


@dataclass(frozen=True, slots=True)
class Surge:
    """As apps/Deployment takes them."""

    max_surge: int
    max_unavailable: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """The decision. `shortage` tells what a held rollout waits for."""

    step: Step
    surge: Surge
    shortage: str = ""


GENTLE = Surge(1, 0)
IN_PLACE = Surge(0, 1)


@dataclass(frozen=True, slots=True)
class PoolState:
    """Of one pool, as the rollout sees it.

    changed  the plan differs from what the workload has
    serving  replicas that answer now, of any generation
    room     further replicas that would fit
    rolling  a rollout that has begun: its own surge replica takes part of the room
    """

    changed: bool
    serving: int
    room: int
    rolling: bool


def roll(state: PoolState, when_full: WhenFull, what: str) -> Rollout:
    """Decide how to apply a plan.

    Where a further replica fits, old ones leave only when new ones are routable. Where none fits, `when_full` decides between
    holding and replacing in place. A deployment that serves nobody loses nothing: its plan is always applied.

    what  one replica's accelerators, for people
    """
    if not state.changed or state.serving == 0:
        return Rollout(Step.APPLY, IN_PLACE if when_full is WhenFull.IN_PLACE and not state.room else GENTLE)
    if state.room or state.rolling:
        return Rollout(Step.APPLY, GENTLE)
    if when_full is WhenFull.IN_PLACE:
        return Rollout(Step.APPLY, IN_PLACE)
    return Rollout(
        Step.HOLD,
        GENTLE,
        f"the change waits for {what} beside the replicas that serve; or set rollout.whenFull: InPlace",
    )

"""How a changed plan reaches the replicas of one pool."""

from collections.abc import Mapping
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
    broken   replicas that will not answer as they are: they crash, or cannot start
    """

    changed: bool
    serving: int
    room: int
    rolling: bool
    broken: int = 0


def roll(state: PoolState, when_full: WhenFull, what: str) -> Rollout:
    """Decide how to apply a plan.

    Where a further replica fits, old ones leave only when new ones are routable. Where none fits, `when_full` decides between
    holding and replacing in place. A deployment that serves nobody loses nothing: its plan is always applied. Broken replicas serve
    nobody either: they are replaced where they are, so that a mended plan does not wait behind what it mends.

    what  one replica's accelerators, for people
    """
    if not state.changed or state.serving == 0:
        return Rollout(Step.APPLY, IN_PLACE if when_full is WhenFull.IN_PLACE and not state.room else GENTLE)
    if state.room or state.rolling:
        return Rollout(Step.APPLY, GENTLE)
    if when_full is WhenFull.IN_PLACE:
        return Rollout(Step.APPLY, IN_PLACE)
    if state.broken:
        return Rollout(Step.APPLY, Surge(0, state.broken))
    return Rollout(
        Step.HOLD,
        GENTLE,
        f"the change waits for {what} beside the replicas that serve; or set rollout.whenFull: InPlace",
    )


def retained(
    wanted: Mapping[str, int], current: Mapping[str, int], serving: Mapping[str, int], desired: int
) -> dict[str, int]:
    """Replicas that each pool runs now, on the way to `wanted`.

    What moves to another pool keeps serving where it was until as many serve elsewhere: of the replicas that answer, only those
    beyond `desired` may go. Those that do not answer go at once.

    current   replicas that each pool's workload has
    serving   of these, those that answer
    """
    answering = {pool: min(count, serving.get(pool, 0)) for pool, count in current.items()}
    excess = max(0, sum(answering.values()) - desired)
    running = dict(wanted)
    for pool in sorted(current, key=lambda pool: (pool in wanted, pool)):
        surplus = max(0, answering[pool] - wanted.get(pool, 0))
        gone = min(excess, surplus)
        excess -= gone
        running[pool] = wanted.get(pool, 0) + surplus - gone
    return running

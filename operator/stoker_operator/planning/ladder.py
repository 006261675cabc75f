"""The readiness ladder of a deployment: which rungs are reached, and what stands before the first that is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stoker_operator.api.conditions import ConditionStatus
from stoker_operator.planning.replica import Replica, Stage

CONFIG_RESOLVED = "ConfigResolved"
CAPACITY_AVAILABLE = "CapacityAvailable"
WEIGHTS_READY = "WeightsReady"
ENGINE_READY = "EngineReady"
ROUTABLE = "Routable"
READY = "Ready"


@dataclass(frozen=True, slots=True)
class Rung:
    """A condition without its history."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the ladder is made from.

    desired          replicas of the current generation
    problem          reason and sentence of what is wrong with the configuration, or None
    shortage         which accelerators are missing, or ""
    replicas         all worker pods of the deployment
    """

    desired: int
    replicas: Sequence[Replica] = ()
    problem: tuple[str, str] | None = None
    shortage: str = ""

    @property
    def updated(self) -> list[Replica]:
        """Those of the current generation that stay."""
        return [replica for replica in self.replicas if replica.updated and replica.stage is not Stage.LEAVING]

    @property
    def ready(self) -> int:
        """Those of the current generation that answer."""
        return sum(replica.has_reached(Stage.ROUTABLE) for replica in self.updated)

    @property
    def serving_old(self) -> int:
        """Those of older generations that still answer."""
        return sum(not replica.updated and replica.has_reached(Stage.ROUTABLE) for replica in self.replicas)


Judge = Callable[[Observed], tuple[str, str] | None]


def ladder(observed: Observed) -> list[Rung]:
    """All rungs in order. The last one, Ready, repeats the blocker's reason and message."""
    rungs: list[Rung] = []
    blocker: Rung | None = None
    for type_, judge in JUDGES:
        rung = _not_reached(type_, blocker) if blocker else _judged(type_, judge(observed))
        rungs.append(rung)
        if blocker is None and rung.status is not ConditionStatus.TRUE:
            blocker = rung
    return [*rungs, _ready(observed, blocker)]


def _judged(type_: str, found: tuple[str, str] | None) -> Rung:
    if found is None:
        return Rung(type_, ConditionStatus.TRUE, "Reached")
    return Rung(type_, ConditionStatus.FALSE, *found)


def _not_reached(type_: str, blocker: Rung) -> Rung:
    return Rung(type_, ConditionStatus.UNKNOWN, "NotReached", f"comes after {blocker.type}")


def _ready(observed: Observed, blocker: Rung | None) -> Rung:
    if blocker is not None:
        old = observed.serving_old
        still = f" ({old} of an older generation still serve)" if old else ""
        return Rung(READY, ConditionStatus.FALSE, blocker.reason, blocker.message + still)
    if observed.desired == 0:
        return Rung(READY, ConditionStatus.TRUE, "ScaledToZero", "no replicas are wanted")
    return Rung(
        READY, ConditionStatus.TRUE, "AllReplicasReady", f"{observed.ready} of {observed.desired} replicas answer"
    )


def _config(observed: Observed) -> tuple[str, str] | None:
    return observed.problem


def _capacity(observed: Observed) -> tuple[str, str] | None:
    if observed.shortage:
        return "InsufficientAccelerators", observed.shortage
    return _behind(observed, Stage.FETCHING, "Scheduling", "are on a node")


def _weights(observed: Observed) -> tuple[str, str] | None:
    return _behind(observed, Stage.STARTING, "Downloading", "have their weights")


def _engine(observed: Observed) -> tuple[str, str] | None:
    return _behind(observed, Stage.STARTED, "EngineStarting", "have a running engine")


def _routable(observed: Observed) -> tuple[str, str] | None:
    return _behind(observed, Stage.ROUTABLE, "WaitingForGateway", "are reached by a gateway")


def _behind(observed: Observed, stage: Stage, reason: str, have: str) -> tuple[str, str] | None:
    """Reason and sentence while fewer than the desired replicas have reached `stage`; a replica's trouble before mere progress."""
    behind = [replica for replica in observed.updated if not replica.has_reached(stage)]
    there = len(observed.updated) - len(behind)
    if there >= observed.desired:
        return None
    troubled = [replica for replica in behind if replica.trouble]
    if troubled:
        others = f" (and {len(troubled) - 1} more)" if len(troubled) > 1 else ""
        return str(troubled[0].trouble), f"{troubled[0].pod}{others}: {troubled[0].detail}"
    detail = next((f": {replica.pod}: {replica.detail}" for replica in behind if replica.detail), "")
    return reason, f"{there} of {observed.desired} replicas {have}{detail}"


JUDGES: tuple[tuple[str, Judge], ...] = (
    (CONFIG_RESOLVED, _config),
    (CAPACITY_AVAILABLE, _capacity),
    (WEIGHTS_READY, _weights),
    (ENGINE_READY, _engine),
    (ROUTABLE, _routable),
)

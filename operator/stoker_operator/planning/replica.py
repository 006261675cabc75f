"""What one worker pod tells of itself, as far as decisions need it."""

from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """Why a replica does not come up; the values are condition reasons."""

    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL = "ImagePullFailed"
    DOWNLOAD = "DownloadFailed"
    BAD_CONFIG = "ContainerConfigInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    CRASH_LOOP = "CrashLoop"
    ENGINE = "EngineFailed"


class Stage(StrEnum):
    """How far a replica has come, in order."""

    PENDING = "Pending"  # not on a node
    FETCHING = "Fetching"  # on a node, weights on their way
    STARTING = "Starting"  # weights there, engine loading
    STARTED = "Started"  # the startup probe has passed
    ROUTABLE = "Routable"  # ready: a gateway has its stream
    LEAVING = "Leaving"  # being deleted


ORDER = {stage: index for index, stage in enumerate(Stage)}


@dataclass(frozen=True, slots=True)
class Replica:
    """One worker pod.

    updated   it runs the current plan
    trouble   what keeps it from the next stage, None while it only needs time
    detail    for people: the scheduler's, kubelet's or container's own words, or how far a download has come
    """

    pod: str
    pool: str
    updated: bool
    stage: Stage
    trouble: Trouble | None = None
    detail: str = ""

    def has_reached(self, stage: Stage) -> bool:
        """At least `stage`, and not leaving."""
        return self.stage is not Stage.LEAVING and ORDER[self.stage] >= ORDER[stage]

"""Conditions as Kubernetes writes them."""

from enum import StrEnum
from typing import Annotated

from stoker_operator.api.fields import Object, as_map, described


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Object, frozen=True):
    """One rung of a readiness ladder."""

    type: Annotated[str, described("Which rung.", max_length=316)]
    status: Annotated[ConditionStatus, described("Whether it is reached.")]
    reason: Annotated[
        str, described("A word for machines, in CamelCase.", pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    ]
    message: Annotated[str, described("A sentence for people: what is missing, and what to do.", max_length=32768)] = ""
    last_transition_time: Annotated[str, described("When the status last changed (RFC 3339).")] = ""
    observed_generation: Annotated[int, described("The generation of the spec that this was found of.", ge=0)] = 0


class Status(Object, frozen=True, omit_defaults=False):
    """What was found of a resource: in every kind's status. Zeros are written: they are findings, too."""

    observed_generation: Annotated[int, described("The generation that this status tells of.", ge=0)] = 0
    conditions: Annotated[tuple[Condition, ...], as_map("type"), described("The readiness ladder.")] = ()

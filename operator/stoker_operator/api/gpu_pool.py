"""GPUPool: a kind of machine in a region. Cluster-wide. Machines without accelerators are a pool as well."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from stoker_operator.api.conditions import Status
from stoker_operator.api.fields import (
    ATOMIC,
    DnsLabel,
    LabelValue,
    Object,
    Price,
    ResourceName,
    described,
    immutable,
    rules,
)

CPU = "CPU"
AcceleratorType = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9-]{0,31}$")]


class TolerationOperator(StrEnum):
    """How a toleration compares."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods without a toleration."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Object, frozen=True):
    """As in a pod."""

    key: Annotated[Annotated[str, Meta(max_length=316)] | None, described("The taint's key; default: all.")] = None
    operator: Annotated[TolerationOperator, described("Whether the value matters.")] = TolerationOperator.EQUAL
    value: Annotated[LabelValue | None, described("The taint's value.")] = None
    effect: Annotated[TaintEffect | None, described("The taint's effect; default: all.")] = None
    toleration_seconds: Annotated[
        Annotated[int, Meta(ge=0)] | None, described("How long NoExecute is endured; default: for ever.")
    ] = None


NEEDS_RESOURCE = rules(
    (
        "self.accelerator == 'CPU' || has(self.resourceName)",
        "set resourceName to what the device plugin advertises, nvidia.com/gpu for example; only CPU pools have none",
    ),
    ("self.accelerator != 'CPU' || !has(self.resourceName)", "remove resourceName: a CPU pool counts cores"),
)


class GPUPoolSpec(Object, frozen=True):
    """Which nodes belong to the pool, and what they offer."""

    accelerator: Annotated[
        AcceleratorType,
        described("What deployments ask for: H100, H200, A100-80GB, …; CPU for machines without accelerators."),
        immutable("accelerator cannot change: make another GPUPool"),
    ]
    region: Annotated[
        DnsLabel, described("Where the nodes are."), immutable("region cannot change: make another GPUPool")
    ]
    node_selector: Annotated[
        dict[str, LabelValue], described("Labels of the pool's nodes.", min_length=1, max_length=32)
    ]
    tolerations: Annotated[tuple[Toleration, ...], ATOMIC, described("Of the pool's taints.", max_length=32)] = ()
    resource_name: Annotated[ResourceName | None, described("The extended resource that counts accelerators.")] = None
    price_per_gpu_hour: Annotated[Price, described("US dollars per accelerator (CPU: per core) and hour.")] = field(
        default="0", name="pricePerGPUHour"
    )
    spot: Annotated[
        bool, described("Nodes may be taken away at short notice; used only when other pools are full.")
    ] = False


class GPUPoolStatus(Status, frozen=True):
    """What the pool has."""

    nodes: Annotated[int, described("Nodes that match and are Ready.", ge=0)] = 0
    total: Annotated[int, described("Accelerators on them.", ge=0)] = 0
    free: Annotated[int, described("Those that no pod has asked for.", ge=0)] = 0
    deployments: Annotated[int, described("Deployments with replicas here.", ge=0)] = 0

"""Deployment: a model on accelerators. Belongs to a namespace, whose label `stoker.dev/account` names the account."""

from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, field

from stoker_operator.api.conditions import Status
from stoker_operator.api.fields import (
    AS_SET,
    DnsLabel,
    Duration,
    LabelValue,
    Object,
    ObjectName,
    as_map,
    described,
    immutable,
    rules,
)
from stoker_operator.api.gpu_pool import AcceleratorType

Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?([numkKMGTPE]i?)?$", max_length=32)]
OUR_LABELS = "stoker.dev/"


class Tier(StrEnum):
    """How a deployment is offered and billed."""

    SERVERLESS = "Serverless"
    ON_DEMAND = "OnDemand"
    FINE_TUNED = "FineTuned"


class Accelerator(Object, frozen=True):
    """What each replica computes on."""

    type: Annotated[AcceleratorType, described("As a GPUPool has it; CPU for none.")]
    count: Annotated[
        int, described("How many per replica (CPU: cores); weights are divided over them.", ge=1, le=64)
    ] = 1


class Autoscaling(Object, frozen=True):
    """How many replicas there are, by how many requests are in flight."""

    max: Annotated[int, described("Most replicas.", ge=1, le=10_000)]
    min: Annotated[int, described("Fewest replicas; 0: none while nobody asks.", ge=0, le=10_000)] = 0
    in_flight_per_replica: Annotated[
        int, described("Requests in flight that one replica is meant for.", ge=1, le=100_000)
    ] = 16
    scale_up_window: Annotated[Duration, described("How long demand must last before replicas are added.")] = "30s"
    scale_down_window: Annotated[Duration, described("How long they must be idle before some are removed.")] = "10m"
    scale_to_zero_window: Annotated[Duration, described("How long without any request before the last one goes.")] = (
        "1h"
    )


class WhenFull(StrEnum):
    """What a rollout does where no accelerator is free for a further replica."""

    WAIT = "Wait"
    IN_PLACE = "InPlace"


class Rollout(Object, frozen=True):
    """How a changed spec reaches the replicas."""

    when_full: Annotated[
        WhenFull,
        described(
            "Wait: keep the old replicas and name the shortage. InPlace: replace them one by one, serving fewer (perhaps none) meanwhile."
        ),
    ] = WhenFull.WAIT


class Precision(StrEnum):
    """Of weights and KV."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class SpeculationKind(StrEnum):
    """Where draft tokens come from."""

    NONE = "None"
    N_GRAM = "NGram"


class Speculation(Object, frozen=True):
    """Draft tokens that the model verifies; they change the speed and not the text."""

    kind: Annotated[SpeculationKind, described("Where draft tokens come from.")] = SpeculationKind.NONE
    tokens: Annotated[int, described("Most draft tokens per step.", ge=1, le=16)] = 4


class Engine(Object, frozen=True):
    """Settings of the engine; the defaults suit most models."""

    precision: Annotated[
        Precision, described("Of weights and KV; auto: as the model is stored, if the accelerator can.")
    ] = Precision.AUTO
    max_context_tokens: Annotated[
        Annotated[int, Meta(ge=16, le=16_777_216)] | None,
        described("Tokens of prompt and answer together; default: the model's."),
    ] = None
    max_batch: Annotated[Annotated[int, Meta(ge=1, le=4096)] | None, described("Sequences of one step.")] = None
    speculation: Annotated[Speculation | None, described("Draft tokens.")] = None


class SecretKeyRef(Object, frozen=True):
    """A value in a Secret of this namespace."""

    name: Annotated[ObjectName, described("The Secret.")]
    key: Annotated[str, described("The key in it.", min_length=1, max_length=253)]


class EnvVarSource(Object, frozen=True):
    """Where an environment variable's value is."""

    secret_key_ref: Annotated[SecretKeyRef, described("A value in a Secret of this namespace.")]


class EnvVar(Object, frozen=True):
    """An environment variable of the worker."""

    name: Annotated[str, described("Its name.", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
    value: Annotated[Annotated[str, Meta(max_length=4096)] | None, described("Its value.")] = None
    value_from: Annotated[EnvVarSource | None, described("Where its value is.")] = None


ENV_RULES = rules(
    ("!self.name.startsWith('STOKER_')", "names that begin with STOKER_ are the operator's"),
    ("has(self.value) != has(self.valueFrom)", "set either value or valueFrom"),
)


class EmptyDir(Object, frozen=True):
    """Scratch space that goes with the pod."""

    size_limit: Annotated[Quantity | None, described("Most that it may hold.")] = None


class ClaimRef(Object, frozen=True):
    """A PersistentVolumeClaim of this namespace."""

    claim_name: Annotated[ObjectName, described("Its name.")]
    read_only: Annotated[bool, described("Mount it read-only.")] = False


class Volume(Object, frozen=True):
    """A volume of the worker; emptyDir or a claim, never the node's own files."""

    name: Annotated[DnsLabel, described("Its name in the pod.")]
    mount_path: Annotated[str, described("Where the worker sees it.", pattern=r"^/[A-Za-z0-9._/-]{1,255}$")]
    empty_dir: Annotated[EmptyDir | None, described("Scratch space.")] = None
    persistent_volume_claim: Annotated[ClaimRef | None, described("A claim of this namespace.")] = None


VOLUME_RULES = rules(
    ("has(self.emptyDir) != has(self.persistentVolumeClaim)", "set either emptyDir or persistentVolumeClaim"),
    (
        "!self.mountPath.contains('..') && !self.mountPath.startsWith('/etc/stoker')",
        "mountPath must have no .. and lie outside /etc/stoker",
    ),
)


ONLY_CPU_AND_MEMORY = rules(
    (
        "self.all(k, k in ['cpu', 'memory', 'ephemeral-storage'])",
        "only cpu, memory and ephemeral-storage can be set here; accelerator says how many accelerators a replica has",
    )
)


class Resources(Object, frozen=True):
    """CPU and memory beside the accelerators, which `accelerator` decides."""

    requests: Annotated[
        dict[str, Quantity], ONLY_CPU_AND_MEMORY, described("What the scheduler sets aside.", max_length=8)
    ] = field(default_factory=dict)
    limits: Annotated[
        dict[str, Quantity], ONLY_CPU_AND_MEMORY, described("What may not be exceeded.", max_length=8)
    ] = field(default_factory=dict)


NOT_OURS = rules(("self.all(k, !k.startsWith('stoker.dev/'))", "keys that begin with stoker.dev/ are the operator's"))


FREE_FORM = Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})
AffinityRules = Annotated[dict[str, Any], FREE_FORM]


class Affinity(Object, frozen=True):
    """As in a pod; Kubernetes itself checks what is inside."""

    node_affinity: Annotated[AffinityRules, described("Which nodes.")] = field(default_factory=dict)
    pod_affinity: Annotated[AffinityRules, described("Near which pods.")] = field(default_factory=dict)
    pod_anti_affinity: Annotated[AffinityRules, described("Away from which pods.")] = field(default_factory=dict)


class PodPatch(Object, frozen=True):
    """What may be changed of the worker's pods. Everything else is the platform's."""

    labels: Annotated[dict[str, LabelValue], NOT_OURS, described("Further labels.", max_length=32)] = field(
        default_factory=dict
    )
    annotations: Annotated[
        dict[str, Annotated[str, Meta(max_length=4096)]], NOT_OURS, described("Further annotations.", max_length=32)
    ] = field(default_factory=dict)
    resources: Annotated[Resources | None, described("CPU and memory.")] = None
    affinity: Annotated[Affinity | None, described("As in a pod.")] = None
    priority_class_name: Annotated[ObjectName | None, described("A PriorityClass.")] = None
    env: Annotated[
        tuple[Annotated[EnvVar, ENV_RULES], ...], as_map("name"), described("Environment variables.", max_length=64)
    ] = ()
    volumes: Annotated[
        tuple[Annotated[Volume, VOLUME_RULES], ...], as_map("name"), described("Further volumes.", max_length=16)
    ] = ()


class DeploymentSpec(Object, frozen=True):
    """A model on accelerators: how many replicas, where, and how they change."""

    model: Annotated[
        ObjectName,
        described("The name of a Model."),
        immutable("model cannot change: make another Deployment and move the alias"),
    ]
    accelerator: Annotated[Accelerator, described("What each replica computes on.")]
    tier: Annotated[
        Tier,
        described(
            "Serverless: shared, billed per token. OnDemand: the account's own, billed per accelerator hour. FineTuned: the account's own weights or adapters."
        ),
        immutable("tier cannot change: make another Deployment"),
    ] = Tier.ON_DEMAND
    regions: Annotated[
        tuple[DnsLabel, ...],
        AS_SET,
        described("Where replicas may be; default: wherever a pool has the accelerator.", max_length=32),
    ] = ()
    replicas: Annotated[
        Annotated[int, Meta(ge=0, le=10_000)] | None,
        described("Over all regions. With autoscaling, leave it out: the scale subresource writes it."),
    ] = None
    autoscaling: Annotated[
        Autoscaling | None, rules(("self.min <= self.max", "min must not exceed max")), described("Replicas by demand.")
    ] = None
    rollout: Annotated[Rollout, described("How changes reach replicas.")] = Rollout()
    engine: Annotated[Engine, described("Settings of the engine.")] = Engine()
    adapters: Annotated[
        tuple[ObjectName, ...], AS_SET, described("Adapters of this namespace to load.", max_length=256)
    ] = ()
    pod_patch: Annotated[PodPatch | None, described("What may be changed of the worker's pods.")] = None


SPEC_RULES = rules(
    ("has(self.replicas) || has(self.autoscaling)", "set replicas, or autoscaling"),
    ("self.tier == 'FineTuned' || !has(self.adapters) || size(self.adapters) == 0", "adapters need tier: FineTuned"),
)


class Placement(Object, frozen=True, omit_defaults=False):
    """Replicas of one pool."""

    region: Annotated[str, described("Where.")]
    pool: Annotated[str, described("On which GPUPool.")]
    replicas: Annotated[int, described("Wanted.", ge=0)] = 0
    updated: Annotated[int, described("Of the current generation.", ge=0)] = 0
    ready: Annotated[int, described("Of these, those that answer.", ge=0)] = 0


class Demand(Object, frozen=True, omit_defaults=False):
    """What gateways have told of requests."""

    held: Annotated[int, described("Requests that wait for a replica.", ge=0)] = 0
    in_flight: Annotated[int, described("Requests being answered.", ge=0)] = 0
    oldest_ms: Annotated[int, described("How long the oldest held one has waited.", ge=0)] = 0


class DeploymentStatus(Status, frozen=True):
    """How far a Deployment has come."""

    replicas: Annotated[int, described("Pods that exist.", ge=0)] = 0
    updated_replicas: Annotated[int, described("Of the current generation.", ge=0)] = 0
    ready_replicas: Annotated[int, described("Of the current generation, those that answer.", ge=0)] = 0
    selector: Annotated[str, described("Of the pods, as the scale subresource needs it.")] = ""
    placements: Annotated[tuple[Placement, ...], as_map("pool"), described("Where replicas are.")] = ()
    demand: Annotated[Demand | None, described("What gateways have told.")] = None

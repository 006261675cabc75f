"""The four resources: their names, scope, subresources and what `kubectl get` shows of them."""

from dataclasses import dataclass

from msgspec import Meta, Struct

from stoker_operator.api import adapter, deployment, gpu_pool, model

GROUP = "stoker.dev"
VERSION = "v1alpha1"
CATEGORY = "stoker"


@dataclass(frozen=True, slots=True)
class Column:
    """What `kubectl get` shows; `wide`: only with -o wide."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind. `rules` concern the whole spec; `scale` adds the scale subresource."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    namespaced: bool
    description: str
    spec: type[Struct]
    status: type[Struct]
    columns: tuple[Column, ...]
    rules: Meta | None = None
    scale: bool = False

    @property
    def crd_name(self) -> str:
        """Of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def condition(type_: str, field: str = "status") -> str:
    """The JSON path to a condition."""
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


AGE = Column("Age", ".metadata.creationTimestamp", "date")

MODEL = Resource(
    kind="Model",
    plural="models",
    short_names=("smodel",),
    namespaced=False,
    description="Weights, where they come from, what they are called and what they cost.",
    spec=model.ModelSpec,
    status=model.ModelStatus,
    rules=model.ID_FITS_ACCOUNT,
    columns=(
        Column("Id", ".spec.id"),
        Column("Task", ".spec.task"),
        Column("Visibility", ".spec.visibility"),
        Column("Source", ".spec.source.uri", wide=True),
        Column("Ready", condition("Ready")),
        Column("Reason", condition("Ready", "reason")),
        AGE,
    ),
)

GPU_POOL = Resource(
    kind="GPUPool",
    plural="gpupools",
    short_names=("pool", "gpool"),
    namespaced=False,
    description="A kind of machine in a region.",
    spec=gpu_pool.GPUPoolSpec,
    status=gpu_pool.GPUPoolStatus,
    rules=gpu_pool.NEEDS_RESOURCE,
    columns=(
        Column("Accelerator", ".spec.accelerator"),
        Column("Region", ".spec.region"),
        Column("Nodes", ".status.nodes", "integer"),
        Column("Total", ".status.total", "integer"),
        Column("Free", ".status.free", "integer"),
        Column("Deployments", ".status.deployments", "integer"),
        Column("Spot", ".spec.spot", "boolean", wide=True),
        AGE,
    ),
)

DEPLOYMENT = Resource(
    kind="Deployment",
    plural="deployments",
    short_names=("sdep",),
    namespaced=True,
    description="A model on accelerators.",
    spec=deployment.DeploymentSpec,
    status=deployment.DeploymentStatus,
    rules=deployment.SPEC_RULES,
    scale=True,
    columns=(
        Column("Model", ".spec.model"),
        Column("Accelerator", ".spec.accelerator.type"),
        Column("Count", ".spec.accelerator.count", "integer", wide=True),
        Column("Desired", ".spec.replicas", "integer"),
        Column("Updated", ".status.updatedReplicas", "integer", wide=True),
        Column("Ready", ".status.readyReplicas", "integer"),
        Column("Status", condition("Ready", "reason")),
        Column("Message", condition("Ready", "message"), wide=True),
        AGE,
    ),
)

ADAPTER = Resource(
    kind="Adapter",
    plural="adapters",
    short_names=("sadapter",),
    namespaced=True,
    description="A LoRA for a base model.",
    spec=adapter.AdapterSpec,
    status=adapter.AdapterStatus,
    columns=(
        Column("Id", ".spec.id"),
        Column("Base", ".spec.base"),
        Column("Ready", condition("Ready")),
        Column("Reason", condition("Ready", "reason")),
        AGE,
    ),
)

RESOURCES = (MODEL, GPU_POOL, DEPLOYMENT, ADAPTER)

"""What is kept of each object. The rest of it is forgotten when it is read: a thousand whole Deployments are a lot of memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from stoker_core import labels
from stoker_operator.api.adapter import AdapterSpec
from stoker_operator.api.conditions import Condition
from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.api.kubernetes import Meta, Node, OwnerReference, Pod, PodSpec
from stoker_operator.api.model import ModelSpec
from stoker_operator.api.resources import DEPLOYMENT, GROUP
from stoker_operator.planning.pods import ENDED, Sign, requests_of, sign_of
from stoker_operator.planning.quantity import parsed

Json = Mapping[str, Any]
S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object, in which version. Versions of one cluster can be compared."""

    namespace: str
    name: str
    uid: str
    version: int


@dataclass(frozen=True, slots=True)
class Custom:
    """One of our own resources. Either `spec` or `problem` is set.

    problem  why the spec cannot be read: it is of another version than ours
    """

    ref: Ref
    generation: int
    created: str
    deleting: bool
    status: Json
    spec: Any = None
    problem: str = ""

    @property
    def is_told(self) -> bool:
        """Whether the status tells of the spec as it is."""
        return any(one.observed_generation == self.generation for one in self.conditions)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """As they were last written."""
        try:
            return msgspec.convert(self.status.get("conditions", ()), tuple[Condition, ...])
        except msgspec.ValidationError:
            return ()


@dataclass(frozen=True, slots=True)
class Workload:
    """An apps/Deployment. `owner` is set for those of our Deployments; `body` is the whole object, as JSON."""

    ref: Ref
    owner: OwnerReference | None = None
    pool: str = ""
    plan: str = ""
    replicas: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    body: bytes = b""

    def live(self) -> dict[str, Any]:
        """The object as the API server has it."""
        decoded: dict[str, Any] = msgspec.json.decode(self.body)
        return decoded


@dataclass(frozen=True, slots=True)
class PodRecord:
    """A pod of anyone's. `sign` is set for workers; `requests` are taken up on `node` while it is active."""

    ref: Ref
    node: str
    active: bool
    requests: Mapping[str, int]
    deployment_uid: str = ""
    deployment: str = ""
    pool: str = ""
    plan: str = ""
    ip: str = ""
    sign: Sign | None = None


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """A node. Amounts are thousandths."""

    ref: Ref
    labels: Mapping[str, str]
    allocatable: Mapping[str, int]
    usable: bool


@dataclass(frozen=True, slots=True)
class NamespaceRecord:
    """A namespace. `account` is "" where it has none."""

    ref: Ref
    account: str


Record = Custom | Workload | PodRecord | NodeRecord | NamespaceRecord


def custom(type_: type[Struct], raw: Json) -> Custom:
    """One of our own resources."""
    meta = _meta(raw)
    made = (_ref(meta), meta.generation, meta.creation_timestamp, meta.deletion_timestamp is not None)
    try:
        spec = msgspec.convert(raw.get("spec", {}), type_)
    except msgspec.ValidationError as error:
        return Custom(*made, raw.get("status", {}), problem=str(error))
    return Custom(*made, raw.get("status", {}), spec=spec)


def deployment(raw: Json) -> Custom:
    """A Deployment of ours."""
    return custom(DeploymentSpec, raw)


def model(raw: Json) -> Custom:
    """A Model."""
    return custom(ModelSpec, raw)


def adapter(raw: Json) -> Custom:
    """An Adapter."""
    return custom(AdapterSpec, raw)


def gpu_pool(raw: Json) -> Custom:
    """A GPUPool."""
    return custom(GPUPoolSpec, raw)


def workload(raw: Json) -> Workload:
    """An apps/Deployment."""
    meta = _meta(raw)
    owner = meta.controller
    if owner is None or owner.kind != DEPLOYMENT.kind or not owner.api_version.startswith(f"{GROUP}/"):
        return Workload(_ref(meta))
    spec = raw["spec"]
    return Workload(
        _ref(meta),
        owner,
        pool=spec["selector"].get("matchLabels", {}).get(labels.POOL, ""),
        plan=spec["template"]["metadata"].get("labels", {}).get(labels.PLAN, ""),
        replicas=spec.get("replicas", 1),
        requests=requests_of(msgspec.convert(spec["template"]["spec"], PodSpec)),
        body=msgspec.json.encode({"apiVersion": "apps/v1", "kind": "Deployment", **raw}),
    )


def pod(raw: Json) -> PodRecord:
    """A pod."""
    read = msgspec.convert(raw, Pod)
    meta = read.metadata
    active = bool(read.spec.node_name) and read.status.phase not in ENDED
    uid = meta.labels.get(labels.DEPLOYMENT_UID, "")
    if not uid:
        return PodRecord(_ref(meta), read.spec.node_name, active, requests_of(read.spec))
    return PodRecord(
        _ref(meta),
        read.spec.node_name,
        active,
        requests_of(read.spec),
        deployment_uid=uid,
        deployment=meta.labels.get(labels.DEPLOYMENT, ""),
        pool=meta.labels.get(labels.POOL, ""),
        plan=meta.labels.get(labels.PLAN, ""),
        ip=read.status.pod_ip,
        sign=sign_of(read),
    )


def node(raw: Json) -> NodeRecord:
    """A node."""
    read = msgspec.convert(raw, Node)
    return NodeRecord(_ref(read.metadata), read.metadata.labels, parsed(read.status.allocatable), read.usable)


def namespace(raw: Json) -> NamespaceRecord:
    """A namespace."""
    meta = _meta(raw)
    return NamespaceRecord(_ref(meta), meta.labels.get(labels.ACCOUNT, ""))


def ref_of(raw: Json) -> Ref:
    """Of any object."""
    return _ref(_meta(raw))


def _meta(raw: Json) -> Meta:
    return msgspec.convert(raw["metadata"], Meta)


def _ref(meta: Meta) -> Ref:
    return Ref(meta.namespace, meta.name, meta.uid, int(meta.resource_version or 0))

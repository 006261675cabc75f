"""What the operator reads of Kubernetes' own objects, as typed values. Everything else in them is passed over."""

from msgspec import field

from stoker_operator.api.fields import Object

Labels = dict[str, str]
Quantities = dict[str, str]


class OwnerReference(Object, frozen=True):
    """Whom an object belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class Meta(Object, frozen=True):
    """Every object's metadata."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: Labels = field(default_factory=dict)
    annotations: Labels = field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def controller(self) -> OwnerReference | None:
        """The one owner that decides about the object."""
        return next((owner for owner in self.owner_references if owner.controller), None)


class Waiting(Object, frozen=True):
    """A container that does not run yet."""

    reason: str = ""
    message: str = ""


class Running(Object, frozen=True):
    """A container that runs."""

    started_at: str | None = None


class Terminated(Object, frozen=True):
    """A container that has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""


class ContainerState(Object, frozen=True):
    """At most one of these."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Object, frozen=True):
    """What kubelet tells of a container. `started`: its startup probe has passed."""

    name: str
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(Object, frozen=True):
    """Of a pod or node."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class PodStatus(Object, frozen=True):
    """What is found of a pod."""

    phase: str = "Pending"
    reason: str = ""
    pod_ip: str = field(default="", name="podIP")
    conditions: tuple[PodCondition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Requests(Object, frozen=True):
    """What a container asks for."""

    requests: Quantities = field(default_factory=dict)


class Container(Object, frozen=True):
    """One of a pod. An init container with `restart_policy` Always runs beside the others."""

    name: str
    resources: Requests = Requests()
    restart_policy: str | None = None


class PodSpec(Object, frozen=True):
    """What a pod is."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    node_name: str = ""
    overhead: Quantities = field(default_factory=dict)


class Pod(Object, frozen=True):
    """A pod."""

    metadata: Meta
    spec: PodSpec
    status: PodStatus = PodStatus()


class NodeSpec(Object, frozen=True):
    """What a node is told."""

    unschedulable: bool = False


class NodeStatus(Object, frozen=True):
    """What is found of a node."""

    allocatable: Quantities = field(default_factory=dict)
    conditions: tuple[PodCondition, ...] = ()


class Node(Object, frozen=True):
    """A machine."""

    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def usable(self) -> bool:
        """Ready, and not cordoned."""
        ready = any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)
        return ready and not self.spec.unschedulable

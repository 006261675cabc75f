"""Nodes without machines: kwok renews their Leases and says that their pods run. Good for capacity, spread and scale."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml
from hack.kube.binaries import KUBERNETES_VERSION
from hack.kube.options import FAKE_NODE

STAGES = Path(__file__).parent / "manifests" / "stages.yaml"
NOT_READY = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
FAKE_KEY, _, FAKE_VALUE = FAKE_NODE.partition("=")


class BadNodes(ValueError):
    """A description of fake nodes that cannot be used; the text says what to change."""


class Taint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keeps pods away that do not tolerate it."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class NodeGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`count` equal nodes, dealt to the regions in turn, and inside a region to its zones."""

    count: int
    prefix: str = "fake"
    regions: tuple[str, ...] = ("us-east-1", "us-west-2", "eu-west-1")
    zones: tuple[str, ...] = ("a", "b")  # appended to the region's name
    gpu: str = "NVIDIA-H100-80GB-HBM3"  # the label nvidia.com/gpu.product; empty: a node without accelerators
    gpus: int = 8
    resource: str = "nvidia.com/gpu"
    cpu: str = "192"
    memory: str = "2Ti"
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = (Taint(FAKE_KEY, FAKE_VALUE),)

    def __post_init__(self) -> None:
        """Raises ValueError; when decoding, msgspec adds where."""
        if self.count < 1 or self.gpus < 0:
            raise ValueError(f"count must be 1 or more and gpus 0 or more, not {self.count} and {self.gpus}")
        if not self.regions or not self.zones:
            raise ValueError("regions and zones need at least one name each")


def groups(given: int | tuple[NodeGroup, ...]) -> tuple[NodeGroup, ...]:
    """Default nodes for a number, else what is given."""
    if isinstance(given, tuple):
        return given
    return (NodeGroup(count=given),) if given else ()


def parse(text: str) -> tuple[NodeGroup, ...]:
    """What a person gives: a number of default nodes, or a YAML file with a list of groups. Raises BadNodes."""
    if text.isdigit():
        return groups(int(text))
    try:
        described = msgspec.convert(yaml.safe_load(Path(text).read_text()), tuple[NodeGroup, ...])
    except OSError as error:
        raise BadNodes(f"fake nodes: neither a number nor a file that can be read: {text}: {error.strerror}") from error
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise BadNodes(f"fake nodes: {text}: {error}") from error
    prefixes = [group.prefix for group in described]
    if len(set(prefixes)) < len(prefixes):
        raise BadNodes(f"fake nodes: {text}: every group needs a prefix of its own, not {', '.join(prefixes)}")
    return described


def manifests(group: NodeGroup) -> list[dict[str, Any]]:
    """The Node objects of a group, with capacity in their status, and Ready."""
    return [_node(group, index) for index in range(group.count)]


def create(client: httpx.Client, nodes: tuple[NodeGroup, ...]) -> None:
    """Create the nodes. Raises httpx.HTTPStatusError."""
    for group in nodes:
        for node in manifests(group):
            client.post("/api/v1/nodes", json=node).raise_for_status()


def all_ready(client: httpx.Client, nodes: tuple[NodeGroup, ...]) -> bool:
    """Whether all of them are Ready and pods may be scheduled there."""
    if not nodes:
        return True
    answer = client.get("/api/v1/nodes", params={"labelSelector": "type=kwok", "resourceVersion": "0"})
    found = answer.raise_for_status().json()["items"]
    return sum(ready(node) for node in found) == sum(group.count for group in nodes)


def ready(node: dict[str, Any]) -> bool:
    """Whether a Node object says that it is Ready, and the controller manager has taken note."""
    conditions = node["status"].get("conditions", [])
    says_so = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return says_so and not any(taint["key"] in NOT_READY for taint in node["spec"].get("taints", []))


def _node(group: NodeGroup, index: int) -> dict[str, Any]:
    name = f"{group.prefix}-{index}"
    region = group.regions[index % len(group.regions)]
    zone = region + group.zones[index // len(group.regions) % len(group.zones)]
    capacity = {"cpu": group.cpu, "memory": group.memory, "pods": "250", "ephemeral-storage": "4Ti"}
    accelerator = {"nvidia.com/gpu.product": group.gpu, "nvidia.com/gpu.count": str(group.gpus)}
    if group.gpus:
        capacity[group.resource] = str(group.gpus)
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": zone,
        **(accelerator if group.gpu and group.gpus else {}),
        **group.labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {FAKE_KEY: FAKE_VALUE}},
        "spec": {"taints": [msgspec.to_builtins(taint) for taint in group.taints]},
        "status": {
            "allocatable": capacity,
            "capacity": capacity,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"}],
            "addresses": [{"type": "Hostname", "address": name}],
            "nodeInfo": _node_info(),
        },
    }


def _node_info() -> dict[str, str]:
    empty = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeProxyVersion")
    known = {"operatingSystem": "linux", "architecture": "amd64", "containerRuntimeVersion": "kwok://"}
    return dict.fromkeys(empty, "") | known | {"kubeletVersion": KUBERNETES_VERSION}

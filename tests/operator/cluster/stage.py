"""Scenery: pools with nodes, models, deployments, and pods that play what kubelet and the controllers would do."""

import itertools
from dataclasses import dataclass, field
from typing import Any

from tests.operator.cluster.cluster import Cluster, Json, reason

from stoker_operator.kube.paths import PODS, WORKLOADS

_numbers = itertools.count(1)
RESOURCE = "example.com/gpu"


def unique(prefix: str) -> str:
    return f"{prefix}-{next(_numbers)}"


@dataclass
class Pool:
    """A GPUPool of an accelerator that only this test has, with nodes."""

    cluster: Cluster
    accelerator: str
    region: str
    name: str = field(default_factory=lambda: unique("pool"))

    @property
    def manifest(self) -> Json:
        spec = {"accelerator": self.accelerator, "region": self.region, "resourceName": RESOURCE}
        spec["nodeSelector"] = {"test/pool": self.name}  # type: ignore[assignment]
        return {"apiVersion": "stoker.dev/v1alpha1", "kind": "GPUPool", "metadata": {"name": self.name}, "spec": spec}

    def add_node(self, accelerators: int) -> str:
        name = unique(f"node-{self.name}")
        manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"test/pool": self.name}}}
        self.cluster.create(manifest)
        amounts = {RESOURCE: str(accelerators), "cpu": "64", "memory": "256Gi", "pods": "110"}
        status = {
            "allocatable": amounts,
            "capacity": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
        }
        self.cluster.patch(manifest, {"status": status}, "status")
        return name


def make_pool(cluster: Cluster, *nodes: int, region: str = "us-east-1", accelerator: str = "") -> Pool:
    """With as many nodes as there are numbers, each of that many accelerators."""
    pool = Pool(cluster, accelerator or unique("ACC"), region)
    for accelerators in nodes:
        pool.add_node(accelerators)
    cluster.apply(pool.manifest)
    return pool


def model(name: str, **spec: Any) -> Json:
    made = {"id": f"accounts/acme/models/{name}", "account": "acme", "source": {"uri": "embedded://m.gguf"}} | spec
    return {"apiVersion": "stoker.dev/v1alpha1", "kind": "Model", "metadata": {"name": name}, "spec": made}


def make_model(cluster: Cluster, **spec: Any) -> str:
    name = unique("model")
    cluster.apply(model(name, **spec))
    return name


def deployment(team: str, model_: str, accelerator: str, *, count: int = 1, **spec: Any) -> Json:
    metadata = {"name": "chat", "namespace": team}
    made = {"model": model_, "accelerator": {"type": accelerator, "count": count}, "replicas": 1} | spec
    return {"apiVersion": "stoker.dev/v1alpha1", "kind": "Deployment", "metadata": metadata, "spec": made}


def child(team: str, pool: Pool, name: str = "chat") -> Json:
    """Enough of the workload's manifest to find it."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{name}-{pool.name}", "namespace": team},
    }


class Players:
    """Plays controllers, scheduler and kubelet for a workload: pods of its template, on nodes, with a status."""

    def __init__(self, cluster: Cluster, team: str) -> None:
        self.cluster, self.team = cluster, team

    def add(self, workload: Json, node: str = "") -> Json:
        """A pod of the workload as it is now, on `node` if one is named."""
        live = self.cluster.get(workload)
        assert live is not None
        template = live["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": unique(live["metadata"]["name"]),
                "namespace": self.team,
                "labels": template["metadata"]["labels"],
            },
            "spec": template["spec"],
        }
        self.cluster.create(pod)
        if node:
            self.bind(pod, node)
        return pod

    def bind(self, pod: Json, node: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        path = PODS.path(self.team, pod["metadata"]["name"], "binding")
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": pod["metadata"], "target": target}
        self.cluster.http.post(path, json=body).raise_for_status()

    def status(self, pod: Json, **status: Any) -> None:
        self.cluster.patch(pod, {"status": status}, "status")

    def serve(self, pod: Json) -> None:
        """The worker answers, and a gateway has its stream."""
        self.status(
            pod,
            phase="Running",
            conditions=[{"type": "Ready", "status": "True"}],
            containerStatuses=[container(state={"running": {}}, started=True, ready=True)],
        )

    def stop(self, pod: Json) -> None:
        self.cluster.delete(pod)


def container(**status: Any) -> Json:
    made = {"name": "worker", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "started": False}
    return made | status


def wait_reason(cluster: Cluster, manifest: Json, expected: str, timeout_s: float = 20.0) -> Json:
    """Until the resource's Ready condition gives this reason, for its current generation."""
    return cluster.wait(manifest, lambda found: reason(found) == expected, timeout_s)


def workloads(cluster: Cluster, team: str) -> list[Json]:
    return cluster.all_of(WORKLOADS, team)

"""An installed Stoker: what people reach it with, and what stories ask of it."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from e2e.kit.manifests import GPU, Object
from e2e.kit.pods import Pod
from e2e.kit.waiting import until
from hack.images.assemble import assemble
from hack.kube.node import Cluster

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "stoker"
RELEASE, NAMESPACE = "stoker", "stoker-system"
IMAGES = ("operator", "gateway", "worker-cpu-smollm2")
HOLD_S = 90
METRICS_PORT = 9090
READY_S = 120.0
DEPLOYMENTS = "/apis/stoker.dev/v1alpha1/namespaces/{}/deployments/{}"


def import_images(cluster: Cluster, folder: Path, tag: str) -> None:
    """The images of this tree, made known to the node as localhost/stoker/NAME:`tag`."""
    for name in IMAGES:
        archive = assemble(name, folder, tag)
        cluster.import_image(archive)
        archive.unlink()


def values(tag: str) -> Object:
    """What differs from the chart's defaults: images that nobody can pull, and CPUs for GPUs."""
    return {
        "image": {"registry": "localhost", "tag": tag, "pullPolicy": "Never"},
        "region": "local",
        "workers": {"images": {GPU: {"repository": "stoker/worker-cpu-smollm2"}}},
        "gateway": {"limits": {"holdTimeoutSeconds": HOLD_S}},
    }


@dataclass(frozen=True, slots=True)
class Stoker:
    """One release on a cluster. `api` is the administrator's client of the API server."""

    cluster: Cluster
    api: httpx.Client

    def helm(self, verb: str, tag: str, chart: Path = CHART, *options: str) -> str:
        """Install or upgrade, and wait until all is up. Raises CommandFailure."""
        file = self.cluster.folder / "values.json"
        file.write_text(json.dumps(values(tag)))
        wait = ("--wait", "--timeout", "180s", "--values", str(file))
        return self.cluster.helm(verb, RELEASE, str(chart), "--namespace", NAMESPACE, *wait, *options)

    def uninstall(self) -> str:
        """What helm says of it, too. Raises CommandFailure."""
        return self.cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "120s")

    @property
    def url(self) -> str:
        """Of the gateways' Service: reached from this machine as from a pod."""
        spec = self.get(f"/api/v1/namespaces/{NAMESPACE}/services/stoker-gateway")["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    @property
    def key(self) -> str:
        """The API key that the chart has made."""
        data = self.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/stoker-api-key")["data"]
        return base64.b64decode(data["api-key"]).decode()

    @contextmanager
    def client(self, timeout_s: float = 60, **options: Any) -> Iterator[httpx.Client]:
        """A client of the gateways, with the key."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=timeout_s, **options) as made:
            yield made

    def get(self, path: str, **params: str) -> Any:
        """An object, or a list of them."""
        return self.api.get(path, params=params).raise_for_status().json()

    def pods(self, namespace: str, **labels: str) -> list[Pod]:
        """Pods by labels; those of a component if `component` is among them, those of a Deployment if `deployment` is."""
        names = {"component": "app.kubernetes.io/component", "deployment": "stoker.dev/deployment"}
        selector = ",".join(f"{names[name]}={value}" for name, value in labels.items())
        found = self.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)
        return [Pod.of(one) for one in found["items"]]

    def metric(self, pod: Pod, name: str) -> float:
        """The sum of a worker's samples of this name, read from the pod itself."""
        with httpx.Client(trust_env=False, timeout=10) as http:
            lines = http.get(f"http://{pod.ip}:{METRICS_PORT}/metrics").raise_for_status().text.splitlines()
        found = [line.split() for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(words[-1]) for words in found)

    def deployment(self, namespace: str, name: str) -> Any:
        """A Deployment of ours, as it is."""
        return self.get(DEPLOYMENTS.format(namespace, name))

    def ready(self, namespace: str, name: str, timeout_s: float = READY_S) -> float:
        """Wait until the current generation is Ready; returns how long that took."""
        began = time.monotonic()
        until(
            lambda: is_ready(self.deployment(namespace, name)),
            f"{namespace}/{name} is Ready",
            timeout_s,
            lambda: conditions(self.deployment(namespace, name)),
        )
        return round(time.monotonic() - began, 1)

    def condition(
        self, namespace: str, name: str, type_: str, reason: str, timeout_s: float = READY_S
    ) -> dict[str, Any]:
        """Wait for a condition of the current generation with this reason, and return it."""

        def look() -> dict[str, Any] | None:
            found = self.deployment(namespace, name)
            one = condition(found, type_)
            return one if one.get("reason") == reason and _current(found, one) else None

        what = f"{type_} of {namespace}/{name} has the reason {reason}"
        found = until(look, what, timeout_s, lambda: conditions(self.deployment(namespace, name)))
        assert found is not None
        return found


def condition(found: Any, type_: str) -> dict[str, Any]:
    """A condition by its type; {} if there is none."""
    return next((one for one in found.get("status", {}).get("conditions", ()) if one["type"] == type_), {})


def conditions(found: Any) -> list[str]:
    """All of them, for people."""
    all_ = found.get("status", {}).get("conditions", ())
    return [f"{one['type']}={one['status']} {one['reason']}: {one.get('message', '')}" for one in all_]


def is_ready(found: Any) -> bool:
    """Ready, and of the current generation."""
    one = condition(found, "Ready")
    return one.get("status") == "True" and _current(found, one)


def _current(found: Any, one: dict[str, Any]) -> bool:
    return bool(one.get("observedGeneration") == found["metadata"]["generation"])


def clean(stoker: Stoker) -> None:
    """Remove all Deployments, Models, pools and the namespaces they were in."""
    owned = "stoker.dev/account"
    stoker.cluster.kubectl("delete", "sdep,models,gpupools", "--all", "--all-namespaces", "--wait=false")
    stoker.cluster.kubectl("delete", "namespaces", "--selector", owned, "--wait=false")
    until(
        lambda: not stoker.get("/api/v1/namespaces", labelSelector=owned)["items"],
        "the story's namespaces are gone",
        120,
        lambda: stoker.cluster.kubectl("get", "pods", "-A"),
    )

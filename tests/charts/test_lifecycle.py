"""Helm's own life of a release on a control plane whose pods run: install, upgrade, uninstall, install again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hack.chart import CHART, NAMESPACE, RELEASE, Object
from hack.kube import control_plane
from hack.kube.access import CommandFailure
from hack.kube.binaries import BuildFailure, ensure
from hack.kube.control_plane import ControlPlane
from hack.kube.fake_nodes import NodeGroup
from tests.charts.chart import Api, applied
from tests.charts.conftest import namespace, until

NODES = (NodeGroup(count=2, gpu="", gpus=0, taints=()),)
KEPT = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stoker-api-key", "namespace": NAMESPACE}}
POOL: Object = {
    "apiVersion": "stoker.dev/v1alpha1",
    "kind": "GPUPool",
    "metadata": {"name": "cpu"},
    "spec": {"accelerator": "CPU", "region": "local", "nodeSelector": {"kubernetes.io/os": "linux"}},
}


@pytest.fixture(scope="module")
def busy_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """With controllers and fake nodes, so that Deployments get pods and the pods are Ready."""
    try:
        ensure(["helm", "kubectl"], build=False)
        with control_plane.running(tmp_path_factory.mktemp("plane"), build=False, nodes=NODES) as running:
            yield running
    except BuildFailure as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def client(busy_plane: ControlPlane) -> Iterator[httpx.Client]:
    with busy_plane.client() as made:
        applied(Api(made, {}), namespace(NAMESPACE), namespace("elsewhere"))
        yield made


def helm(plane: ControlPlane, verb: str, *options: str, release: str = RELEASE, chart: Path = CHART) -> str:
    target = [str(chart)] if verb in ("install", "upgrade") else []
    return plane.helm(verb, release, *target, "--namespace", NAMESPACE, *options)


def test_a_release_lives(busy_plane: ControlPlane, client: httpx.Client, tmp_path: Path) -> None:
    api = Api(client, {})
    notes = helm(busy_plane, "install", "--wait", "--timeout", "60s")
    assert "get secret stoker-api-key -o jsonpath" in notes
    assert running(client) == ["gateway", "gateway", "operator", "operator"]

    # Nothing that was made by chance changes, and so nothing changes.
    before = objects(busy_plane)
    key = api.get(KEPT).json()["data"]
    helm(busy_plane, "upgrade")
    assert objects(busy_plane) == before
    assert api.get(KEPT).json()["data"] == key

    # A lost key is replaced by another one.
    api.delete(KEPT)
    helm(busy_plane, "upgrade")
    assert api.get(KEPT).json()["data"]["api-key"] != key["api-key"]

    # Definitions change with the chart, and what is of their kinds stays.
    until(lambda: api.apply(POOL).is_success)
    helm(busy_plane, "upgrade", chart=changed(tmp_path))
    definition = client.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gpupools.stoker.dev").json()
    assert definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] == "Changed."

    kept = helm(busy_plane, "uninstall", "--wait", "--timeout", "60s")
    assert "gpupools.stoker.dev" in kept
    assert left_over(client) == {"CustomResourceDefinition"}
    assert api.get(POOL).is_success

    # The same release takes them back, another one only when it is told to.
    helm(busy_plane, "install")
    helm(busy_plane, "uninstall", "--wait", "--timeout", "60s")
    with pytest.raises(CommandFailure, match="must equal"):
        helm(busy_plane, "install", release="other")
    helm(busy_plane, "install", "--take-ownership", release="other")
    assert api.get(POOL).is_success


def running(client: httpx.Client) -> list[str]:
    """Components of the Ready pods."""
    pods = client.get(f"/api/v1/namespaces/{NAMESPACE}/pods").json()["items"]
    ready = [pod for pod in pods if {"type": "Ready", "status": "True"}.items() <= ready_of(pod).items()]
    return sorted(pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in ready)


def ready_of(pod: Object) -> dict[str, str]:
    conditions = pod["status"].get("conditions", [])
    return next((c for c in conditions if c["type"] == "Ready"), {})


def objects(plane: ControlPlane) -> str:
    """What helm has applied."""
    return plane.helm("get", "manifest", RELEASE, "--namespace", NAMESPACE)


def changed(folder: Path) -> Path:
    """The chart of a later version."""
    copy = folder / "stoker"
    shutil.copytree(CHART, copy)
    file = copy / "files" / "crds" / "gpupools.stoker.dev.yaml"
    text = file.read_text()
    assert "description: A kind of machine in a region." in text
    file.write_text(text.replace("description: A kind of machine in a region.", "description: Changed."))
    return copy


def left_over(client: httpx.Client) -> set[str]:
    """Kinds of objects that are the release's, of all kinds that the API server has."""
    found = set()
    for resource, at in listable(client):
        answer = client.get(at, params={"labelSelector": f"app.kubernetes.io/instance={RELEASE}"})
        if answer.is_success and answer.json().get("items"):
            found.add(resource)
    return found


def listable(client: httpx.Client) -> Iterator[tuple[str, str]]:
    groups = client.get("/apis").json()["groups"]
    for version in ("api/v1", *(f"apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for resource in client.get(f"/{version}").json()["resources"]:
            if "list" in resource["verbs"] and resource["kind"] not in ("EndpointSlice", "Endpoints"):
                yield resource["kind"], f"/{version}/{resource['name']}"

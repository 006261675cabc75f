"""The control plane for tests: its controllers and fake nodes do what a cluster's do."""

import json
import stat
from collections.abc import Iterator

import httpx
import pytest
from hack.kube import control_plane
from hack.kube.access import CommandFailure
from hack.kube.control_plane import ControlPlane
from tests.hack.waiting import eventually

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 5,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
                "nodeSelector": {"topology.kubernetes.io/region": "eu-west-1"},
                "containers": [
                    {"name": "main", "image": "none", "resources": {"limits": {"nvidia.com/gpu": "4"}}},
                ],
            },
        },
    },
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane.running(tmp_path_factory.mktemp("plane"), nodes=6) as running:
        yield running


def pods(client: httpx.Client) -> list[dict]:
    return client.get("/api/v1/namespaces/default/pods").json()["items"]


def phases(client: httpx.Client) -> list[str]:
    return sorted(pod["status"]["phase"] for pod in pods(client))


def test_a_deployment_fills_the_fake_gpus_of_its_region_and_the_rest_waits(plane: ControlPlane) -> None:
    plane.apply(DEPLOYMENT)
    with plane.client() as client:
        # Two nodes in the region, 8 GPUs each, 4 a pod: four run, the fifth waits.
        eventually(lambda: phases(client) == ["Pending", *["Running"] * 4], lambda: pods(client))
        running = [pod for pod in pods(client) if pod["status"]["phase"] == "Running"]
        assert all(pod["status"]["containerStatuses"][0]["started"] for pod in running)
        assert len({pod["status"]["podIP"] for pod in running}) == 4
        plane.kubectl("delete", "deployment", "web")
        eventually(lambda: phases(client) == [], lambda: pods(client))


def test_kubectl_speaks_as_the_administrator_and_says_what_failed(plane: ControlPlane) -> None:
    assert len(json.loads(plane.kubectl("get", "nodes", "-o", "json"))["items"]) == 6
    with pytest.raises(CommandFailure, match=r"^kubectl get nothings: error: the server doesn't have a resource type"):
        plane.kubectl("get", "nothings")


def test_private_keys_are_readable_for_their_owner_alone(plane: ControlPlane) -> None:
    private = [*plane.key.parent.glob("*.key"), *plane.key.parent.glob("*.conf")]
    assert len(private) >= 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_a_frozen_api_server_answers_nobody_until_it_thaws(plane: ControlPlane) -> None:
    with plane.client() as client:
        plane.freeze_api_server()
        try:
            with pytest.raises(httpx.TimeoutException):
                client.get("/readyz", timeout=0.3)
        finally:
            plane.thaw_api_server()
        assert client.get("/readyz").text == "ok"

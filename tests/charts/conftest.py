"""A real API server with a namespace that enforces restricted pods, and helm."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hack.chart import NAMESPACE, Object, objects, template
from hack.kube import control_plane
from hack.kube.binaries import BuildFailure
from hack.kube.control_plane import ControlPlane
from tests.charts.chart import Api, applied

FOREIGN = Path(__file__).parent / "foreign"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
WAIT_S, POLL_S = 30.0, 0.05


def namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {**RESTRICTED, **labels}}}


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as it holds; fail after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(POLL_S)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and the API server, once per session."""
    try:
        with control_plane.running(tmp_path_factory.mktemp("plane"), build=False) as made:
            yield made
    except BuildFailure as error:
        pytest.fail(str(error))


@pytest.fixture(scope="session")
def api(plane: ControlPlane) -> Iterator[Api]:
    """The administrator, in a cluster with the release's and a tenant's namespace and everybody's definitions."""
    with plane.client() as client:
        made = Api(client, {})
        applied(made, namespace(NAMESPACE), namespace("tenant", **{"stoker.dev/account": "tenant"}))
        rendered = [item for item in template() if item["kind"] in ("CustomResourceDefinition", "PriorityClass")]
        foreign = [item for file in sorted(FOREIGN.glob("*.yaml")) for item in objects(file.read_text())]
        applied(made, *rendered, *foreign)
        for item in (*rendered, *foreign):
            if item["kind"] == "CustomResourceDefinition":
                until(lambda item=item: established(made.get(item).json()))  # type: ignore[misc]
        yield made


def established(definition: Object) -> bool:
    conditions = definition.get("status", {}).get("conditions", [])
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

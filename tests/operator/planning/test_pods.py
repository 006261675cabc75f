"""A pod's status as what it says of its replica."""

from typing import Any

import msgspec
import pytest

from stoker_operator.api.kubernetes import Pod, PodSpec
from stoker_operator.planning.pods import Sign, requests_of, sign_of
from stoker_operator.planning.quantity import milli
from stoker_operator.planning.replica import Stage, Trouble


def pod(node: str = "n", deleted: bool = False, **status: Any) -> Pod:
    metadata = {"name": "p"} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    spec = {"containers": [{"name": "worker"}], "nodeName": node}
    return msgspec.convert({"metadata": metadata, "spec": spec, "status": status}, Pod)


def worker(state: dict[str, Any], last: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "worker", "state": state, "lastState": last or {}} | more


def step(state: dict[str, Any], last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": "fetch", "state": state, "lastState": last or {}}


RUNNING: dict[str, Any] = {"running": {}}
READY = [{"type": "Ready", "status": "True"}]


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def held(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("observed", "sign"),
    [
        pytest.param(pod(node=""), Sign(Stage.PENDING), id="new"),
        pytest.param(pod(), Sign(Stage.FETCHING), id="on a node"),
        pytest.param(
            pod(containerStatuses=[worker(held("ContainerCreating"))]), Sign(Stage.FETCHING), id="its image is pulled"
        ),
        pytest.param(pod(initContainerStatuses=[step(RUNNING)]), Sign(Stage.FETCHING), id="downloading"),
        pytest.param(
            pod(initContainerStatuses=[step(ended(0))], containerStatuses=[worker(RUNNING)]),
            Sign(Stage.STARTING),
            id="downloaded",
        ),
        pytest.param(
            pod(initContainerStatuses=[step(held("ImagePullBackOff", "no image"))]),
            Sign(Stage.FETCHING, Trouble.IMAGE_PULL, "no image"),
            id="no image for the download",
        ),
        pytest.param(
            pod(initContainerStatuses=[step(RUNNING, ended(1, message="s3://b: 403"))]),
            Sign(Stage.FETCHING, Trouble.DOWNLOAD, "exit code 1: s3://b: 403"),
            id="trying again: the last failure is still told",
        ),
        pytest.param(
            pod(initContainerStatuses=[step(ended(137, "OOMKilled"))]),
            Sign(Stage.FETCHING, Trouble.OUT_OF_MEMORY, "out of memory"),
            id="the download needs more memory",
        ),
        pytest.param(
            pod(containerStatuses=[worker(RUNNING, ended(137, "OOMKilled"), restartCount=1)]),
            Sign(Stage.STARTING, Trouble.OUT_OF_MEMORY, "out of memory, 1 restart"),
            id="running again after an OOM kill",
        ),
        pytest.param(
            pod(containerStatuses=[worker(RUNNING, ended(1), started=True, restartCount=1)]),
            Sign(Stage.STARTED),
            id="started again: forgiven",
        ),
        pytest.param(
            pod(conditions=READY, containerStatuses=[worker(RUNNING, started=True)]), Sign(Stage.ROUTABLE), id="answers"
        ),
        pytest.param(
            pod(conditions=READY, containerStatuses=[worker(RUNNING, started=True)], deleted=True),
            Sign(Stage.LEAVING),
            id="leaves",
        ),
        pytest.param(pod(phase="Failed", reason="Evicted"), Sign(Stage.LEAVING), id="evicted"),
        pytest.param(
            pod(node="", conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            Sign(Stage.PENDING, Trouble.UNSCHEDULABLE, "SchedulingGated"),
            id="gated",
        ),
        pytest.param(
            pod(containerStatuses=[worker(held("RunContainerError", "x" * 400))]),
            Sign(Stage.FETCHING, Trouble.BAD_CONFIG, "x" * 299 + "…"),
            id="long words are cut",
        ),
    ],
)
def test_signs(observed: Pod, sign: Sign) -> None:
    assert sign_of(observed) == sign


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [
        *[("1", 1000), ("1500m", 1500), ("0.5", 500), (".1", 100), ("1.", 1000), ("2k", 2_000_000)],
        *[("1Ki", 1_024_000), ("1Gi", 1024**3 * 1000), ("5E", 5 * 10**21), ("1e3", 1_000_000), ("100u", 1), ("1n", 1)],
    ],
)
def test_quantities(text: str, thousandths: int) -> None:
    assert milli(text) == thousandths


@pytest.mark.parametrize("text", ["", "lots", "1Q", "1 Gi", "--1", "1kk"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        milli(text)


def test_a_pod_asks_for_its_containers_together_or_for_its_largest_step() -> None:
    def asks(cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": "c", "resources": {"requests": {"cpu": cpu}}} | more

    spec = {
        "containers": [asks("1"), asks("500m")],
        "initContainers": [asks("4"), asks("250m", restartPolicy="Always")],
        "overhead": {"cpu": "100m"},
    }
    assert requests_of(msgspec.convert(spec, PodSpec)) == {"cpu": 4100}

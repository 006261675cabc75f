"""Whatever keeps a replica from answering is named in the status, with kubelet's or the worker's own words."""

from typing import Any

import pytest
from tests.operator.cluster.cluster import Cluster, Json, condition
from tests.operator.cluster.stage import (
    Players,
    child,
    container,
    deployment,
    make_model,
    make_pool,
    wait_reason,
)

pytestmark = pytest.mark.usefixtures("operator")


def waiting(reason: str, message: str = "", **status: Any) -> Json:
    return container(state={"waiting": {"reason": reason, "message": message}}, **status)


def crashed(code: int, reason: str = "Error", message: str = "") -> Json:
    ended = {"exitCode": code, "reason": reason, "message": message}
    return waiting("CrashLoopBackOff", "back-off 40s", lastState={"terminated": ended}, restartCount=3)


FETCH = {"name": "fetch", "ready": False}

TROUBLES = [
    pytest.param(
        {"containerStatuses": [waiting("ImagePullBackOff", "image worker:gpu not found")]},
        ("WeightsReady", "ImagePullFailed", "image worker:gpu not found"),
        id="an image that is not there",
    ),
    pytest.param(
        {"containerStatuses": [waiting("CreateContainerConfigError", "secret s not found")]},
        ("WeightsReady", "ContainerConfigInvalid", "secret s not found"),
        id="a variable's secret that is not there",
    ),
    pytest.param(
        {"containerStatuses": [crashed(139, message="line 1\nsegmentation fault")]},
        ("EngineReady", "CrashLoop", "exit code 139, 3 restarts: segmentation fault"),
        id="a crash loop",
    ),
    pytest.param(
        {"containerStatuses": [crashed(2, message="stoker worker: m.gguf: truncated")]},
        ("EngineReady", "EngineFailed", "exit code 2, 3 restarts: stoker worker: m.gguf: truncated"),
        id="a model file that cannot be read",
    ),
    pytest.param(
        {"containerStatuses": [crashed(137, "OOMKilled")]},
        ("EngineReady", "OutOfMemory", "out of memory, 3 restarts"),
        id="out of memory",
    ),
    pytest.param(
        {
            "initContainerStatuses": [
                waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 1, "message": "hf://a/b: 401"}})
                | FETCH
            ]
        },
        ("WeightsReady", "DownloadFailed", "exit code 1: hf://a/b: 401"),
        id="a download that fails",
    ),
    pytest.param(
        {"containerStatuses": [container(state={"running": {}})]},
        ("EngineReady", "EngineStarting", "0 of 1 replicas have a running engine"),
        id="a model that loads",
    ),
    pytest.param(
        {"containerStatuses": [container(state={"running": {}}, started=True)]},
        ("Routable", "WaitingForGateway", "0 of 1 replicas are reached by a gateway"),
        id="no gateway yet",
    ),
]


@pytest.mark.parametrize(("status", "told"), TROUBLES)
def test_what_keeps_a_replica(cluster: Cluster, team: str, status: Json, told: tuple[str, str, str]) -> None:
    pool = make_pool(cluster, 8)
    source = {"uri": "s3://bucket/m"} if "initContainerStatuses" in status else {"uri": "embedded://m"}
    manifest = deployment(team, make_model(cluster, source=source), pool.accelerator)
    cluster.apply(manifest)
    cluster.wait(child(team, pool), bool)
    players = Players(cluster, team)
    pod = players.add(child(team, pool), pool.add_node(8))
    players.status(pod, phase="Running" if "containerStatuses" in status else "Pending", **status)
    rung, reason, detail = told
    found = wait_reason(cluster, manifest, reason)
    assert condition(found, rung)["status"] == "False"
    assert condition(found, rung)["message"].endswith(detail)
    players.serve(pod)
    if "initContainerStatuses" in status:
        players.status(pod, initContainerStatuses=[container(state={"terminated": {"exitCode": 0}}) | FETCH])
    wait_reason(cluster, manifest, "AllReplicasReady")


def test_a_pod_that_no_node_takes(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator)
    cluster.apply(manifest)
    cluster.wait(child(team, pool), bool)
    players = Players(cluster, team)
    pod = players.add(child(team, pool))
    why = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes: too little memory",
    }
    players.status(pod, conditions=[why])
    found = wait_reason(cluster, manifest, "Unschedulable")
    assert condition(found, "CapacityAvailable")["message"].endswith("0/1 nodes: too little memory")

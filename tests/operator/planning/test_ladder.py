"""The first rung that is not reached names what stands in the way, in words that can be acted on."""

import pytest

from stoker_operator.api.conditions import ConditionStatus
from stoker_operator.planning.ladder import Observed, ladder
from stoker_operator.planning.replica import Replica, Stage, Trouble


def replica(
    stage: Stage, trouble: Trouble | None = None, detail: str = "", *, updated: bool = True, pod: str = "p"
) -> Replica:
    return Replica(pod, "pool", updated, stage, trouble, detail)


UP = replica(Stage.ROUTABLE)
OLD = replica(Stage.ROUTABLE, updated=False)


@pytest.mark.parametrize(
    ("observed", "reached", "reason", "message"),
    [
        pytest.param(Observed(0), 5, "ScaledToZero", "no replicas are wanted", id="none wanted"),
        pytest.param(Observed(2, [UP, UP]), 5, "AllReplicasReady", "2 of 2 replicas answer", id="all there"),
        pytest.param(Observed(1, [UP, UP]), 5, "AllReplicasReady", "2 of 1 replicas answer", id="one too many"),
        pytest.param(
            Observed(1, problem=("ModelNotFound", "there is no Model nosuch")),
            0,
            "ModelNotFound",
            "there is no Model nosuch",
            id="bad configuration",
        ),
        pytest.param(
            Observed(1, shortage="needs 4 × H100 in us: pool a has 2 free of 16"),
            1,
            "InsufficientAccelerators",
            "needs 4 × H100 in us: pool a has 2 free of 16",
            id="no room",
        ),
        pytest.param(
            Observed(1, [replica(Stage.PENDING, Trouble.UNSCHEDULABLE, "0/3 nodes: 3 had a taint")]),
            1,
            "Unschedulable",
            "p: 0/3 nodes: 3 had a taint",
            id="unschedulable",
        ),
        pytest.param(Observed(2, [UP]), 1, "Scheduling", "1 of 2 replicas are on a node", id="a pod is yet to come"),
        pytest.param(
            Observed(1, [replica(Stage.FETCHING, detail="3.1 of 140 GB")]),
            2,
            "Downloading",
            "0 of 1 replicas have their weights: p: 3.1 of 140 GB",
            id="downloading",
        ),
        pytest.param(
            Observed(2, [replica(Stage.FETCHING, Trouble.DOWNLOAD, "hf://a/b: 401")] * 2),
            2,
            "DownloadFailed",
            "p (and 1 more): hf://a/b: 401",
            id="download failed",
        ),
        pytest.param(
            Observed(1, [replica(Stage.STARTING, Trouble.OUT_OF_MEMORY, "killed at 8 GiB"), OLD]),
            3,
            "OutOfMemory",
            "p: killed at 8 GiB (1 of an older generation still serve)",
            id="OOM in a rollout",
        ),
        pytest.param(
            Observed(1, [replica(Stage.FETCHING, Trouble.IMAGE_PULL, "not found")]),
            2,
            "ImagePullFailed",
            "p: not found",
            id="no image",
        ),
        pytest.param(
            Observed(1, [replica(Stage.STARTING, Trouble.CRASH_LOOP, "exit code 1, 4 restarts")]),
            3,
            "CrashLoop",
            "p: exit code 1, 4 restarts",
            id="crash loop",
        ),
        pytest.param(
            Observed(1, [replica(Stage.STARTING)]),
            3,
            "EngineStarting",
            "0 of 1 replicas have a running engine",
            id="loading",
        ),
        pytest.param(
            Observed(1, [replica(Stage.STARTED)]),
            4,
            "WaitingForGateway",
            "0 of 1 replicas are reached by a gateway",
            id="no gateway",
        ),
        pytest.param(
            Observed(1, [OLD, OLD]),
            1,
            "Scheduling",
            "0 of 1 replicas are on a node (2 of an older generation still serve)",
            id="old ones do not count",
        ),
        pytest.param(
            Observed(1, [replica(Stage.LEAVING)]),
            1,
            "Scheduling",
            "0 of 1 replicas are on a node",
            id="nor do those that leave",
        ),
    ],
)
def test_ladder(observed: Observed, reached: int, reason: str, message: str) -> None:
    rungs = ladder(observed)
    types = ["ConfigResolved", "CapacityAvailable", "WeightsReady", "EngineReady", "Routable", "Ready"]
    assert [rung.type for rung in rungs] == types
    assert [rung.status for rung in rungs[:reached]] == [ConditionStatus.TRUE] * reached
    assert (rungs[5].reason, rungs[5].message) == (reason, message)
    if reached < 5:
        assert rungs[reached].status is ConditionStatus.FALSE
        assert rungs[reached].reason == reason
        assert {rung.status for rung in rungs[reached + 1 : 5]} <= {ConditionStatus.UNKNOWN}
    assert (rungs[5].status is ConditionStatus.TRUE) == (reached == 5)

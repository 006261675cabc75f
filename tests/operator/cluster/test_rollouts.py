"""Changes reach replicas without anyone who serves leaving before a successor answers, whatever is edited how often.

What apps' own controller does with a workload (surge, unavailable) is Kubernetes' promise; here is tested what it is told.
"""

import pytest
from tests.operator.cluster.cluster import Cluster, Json, condition
from tests.operator.cluster.stage import (
    Players,
    Pool,
    child,
    deployment,
    make_model,
    make_pool,
    wait_reason,
)

from stoker_core import labels

pytestmark = pytest.mark.usefixtures("operator")

GENTLE = {"maxSurge": 1, "maxUnavailable": 0}
IN_PLACE = {"maxSurge": 0, "maxUnavailable": 1}


def plan(workload: Json) -> str:
    return str(workload["spec"]["template"]["metadata"]["labels"][labels.PLAN])


def batch(workload: Json) -> str:
    options = workload["spec"]["template"]["spec"]["containers"][0]["args"]
    return next((word.partition("=")[2] for word in options if word.startswith("--max-batch-sequences=")), "")


class Rolling:
    """A deployment that serves with two replicas, on a pool with so much room beside them."""

    def __init__(self, cluster: Cluster, team: str, spare: int, when_full: str = "Wait") -> None:
        self.cluster, self.team, self.pool = cluster, team, make_pool(cluster)
        self.node = self.pool.add_node(2 + spare)
        self.players = Players(cluster, team)
        self.manifest = deployment(
            team, make_model(cluster), self.pool.accelerator, replicas=2, rollout={"whenFull": when_full}
        )
        cluster.apply(self.manifest)
        self.workload = cluster.wait(child(team, self.pool), lambda found: found["spec"]["replicas"] == 2)
        self.old = [self.add() for _ in range(2)]
        wait_reason(cluster, self.manifest, "AllReplicasReady")

    def add(self, pool: Pool | None = None, *, serves: bool = True) -> Json:
        pod = self.players.add(child(self.team, pool or self.pool), self.node if pool is None else pool.add_node(1))
        if serves:
            self.players.serve(pod)
        return pod

    def edit(self, max_batch: int) -> None:
        self.manifest["spec"]["engine"] = {"maxBatch": max_batch}
        self.cluster.apply(self.manifest)

    def told(self, max_batch: str, strategy: Json) -> Json:
        return self.cluster.wait(
            child(self.team, self.pool),
            lambda found: (
                batch(found) == max_batch
                and found["spec"]["strategy"]["rollingUpdate"] == strategy
                and found["spec"]["replicas"] == 2
            ),
        )

    def reason(self, expected: str) -> Json:
        return wait_reason(self.cluster, self.manifest, expected)


def test_where_there_is_room_new_ones_come_first(cluster: Cluster, team: str) -> None:
    rolling = Rolling(cluster, team, spare=1)
    rolling.edit(8)
    rolling.told("8", GENTLE)
    found = rolling.reason("Scheduling")
    assert condition(found, "Ready")["message"].endswith("(2 of an older generation still serve)")
    assert (found["status"]["replicas"], found["status"].get("readyReplicas", 0)) == (2, 0)
    for old in rolling.old:
        rolling.add()
        rolling.players.stop(old)
    found = rolling.reason("AllReplicasReady")
    assert found["status"]["updatedReplicas"] == 2


def test_where_there_is_none_the_old_ones_stay_and_the_shortage_is_named(cluster: Cluster, team: str) -> None:
    rolling = Rolling(cluster, team, spare=0)
    rolling.edit(8)
    found = rolling.reason("InsufficientAccelerators")
    assert f"waits for 1 × {rolling.pool.accelerator}" in condition(found, "CapacityAvailable")["message"]
    held = cluster.get(child(team, rolling.pool))
    assert held is not None
    assert held["metadata"]["generation"] == rolling.workload["metadata"]["generation"]
    rolling.pool.add_node(1)
    rolling.told("8", GENTLE)


def test_a_held_deployment_still_scales(cluster: Cluster, team: str) -> None:
    rolling = Rolling(cluster, team, spare=0)
    rolling.edit(8)
    rolling.reason("InsufficientAccelerators")
    cluster.patch(rolling.manifest, {"spec": {"replicas": 3}}, "scale")
    found = cluster.wait(child(team, rolling.pool), lambda one: one["spec"]["replicas"] == 3)
    assert plan(found) == plan(rolling.workload)


def test_in_place_replaces_one_by_one(cluster: Cluster, team: str) -> None:
    rolling = Rolling(cluster, team, spare=0, when_full="InPlace")
    rolling.edit(8)
    rolling.told("8", IN_PLACE)


def test_a_broken_replica_gives_way_to_the_mended_plan(cluster: Cluster, team: str) -> None:
    rolling = Rolling(cluster, team, spare=0)
    crash = {"name": "worker", "image": "x", "imageID": "", "ready": False, "started": False, "restartCount": 4}
    crash["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    crash["lastState"] = {"terminated": {"exitCode": 1}}
    rolling.players.status(rolling.old[0], containerStatuses=[crash], conditions=[{"type": "Ready", "status": "False"}])
    rolling.reason("CrashLoop")
    rolling.edit(8)
    rolling.told("8", {"maxSurge": 0, "maxUnavailable": 1})


def test_repeated_and_reverted_edits(cluster: Cluster, team: str) -> None:
    """Each is applied gently; the reverted one is the plan of the replicas that serve, and they are ready at once."""
    rolling = Rolling(cluster, team, spare=1)
    for max_batch in (8, 9, 10):
        rolling.edit(max_batch)
    rolling.told("10", GENTLE)
    surge = rolling.add(serves=False)
    rolling.reason("Scheduling")
    rolling.edit(11)  # its own surge replica has taken the room
    rolling.told("11", GENTLE)
    del rolling.manifest["spec"]["engine"]
    cluster.apply(rolling.manifest)
    found = rolling.told("", GENTLE)
    assert plan(found) == plan(rolling.workload)
    rolling.players.stop(surge)
    found = rolling.reason("AllReplicasReady")
    assert found["status"]["updatedReplicas"] == 2


def test_a_move_to_another_pool_keeps_the_old_one_until_the_new_one_serves(cluster: Cluster, team: str) -> None:
    rolling = Rolling(cluster, team, spare=0)
    elsewhere = make_pool(cluster, 4, region="eu-west-1", accelerator=rolling.pool.accelerator)
    rolling.manifest["spec"]["regions"] = ["eu-west-1"]
    cluster.apply(rolling.manifest)
    cluster.wait(child(team, elsewhere), lambda found: found["spec"]["replicas"] == 2)
    kept = cluster.get(child(team, rolling.pool))
    assert kept is not None
    assert (kept["spec"]["replicas"], plan(kept)) == (2, plan(rolling.workload))
    rolling.add(elsewhere)
    cluster.wait(child(team, rolling.pool), lambda found: found["spec"]["replicas"] == 1)
    rolling.players.stop(rolling.old.pop())
    rolling.add(elsewhere)
    cluster.wait_gone(child(team, rolling.pool))
    rolling.players.stop(rolling.old.pop())
    found = rolling.reason("AllReplicasReady")
    assert [row["region"] for row in found["status"]["placements"]] == ["eu-west-1"]

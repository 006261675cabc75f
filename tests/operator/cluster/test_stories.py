"""A deployment's life on a real API server: what is applied, what is told, and what is left alone."""

import pytest
from tests.operator.cluster.cluster import Cluster, Json, condition
from tests.operator.cluster.stage import (
    Players,
    Pool,
    child,
    deployment,
    make_model,
    make_pool,
    model,
    unique,
    wait_reason,
    workloads,
)

from stoker_operator.kube.paths import EVENTS

pytestmark = pytest.mark.usefixtures("operator")


def test_a_deployment_climbs_the_ladder(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator, replicas=2)
    cluster.apply(manifest)
    workload = cluster.wait(child(team, pool), lambda found: found["spec"]["replicas"] == 2)
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "worker:gpu"
    found = wait_reason(cluster, manifest, "Scheduling")
    assert condition(found, "ConfigResolved")["status"] == "True"
    players = Players(cluster, team)
    node = pool.add_node(8)
    pods = [players.add(child(team, pool), node) for _ in range(2)]
    wait_reason(cluster, manifest, "Downloading")
    for pod in pods:
        players.serve(pod)
    found = wait_reason(cluster, manifest, "AllReplicasReady")
    assert found["status"]["readyReplicas"] == 2
    assert found["status"]["placements"] == [
        {"pool": pool.name, "region": "us-east-1", "replicas": 2, "updated": 2, "ready": 2}
    ]


def test_children_are_as_planned_and_writes_end(cluster: Cluster, team: str) -> None:
    """Once all is told, nothing is written any more, whatever is written beside it."""
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator)
    cluster.apply(manifest)
    serving(cluster, team, pool, 1)
    settled = wait_reason(cluster, manifest, "AllReplicasReady")["metadata"]["resourceVersion"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat-worker-tls", "namespace": team}}
    certificate = cluster.get(secret)
    # A change that concerns the deployment and alters nothing: its reconcile runs and finds nothing to do.
    touched = cluster.patch(child(team, pool), {"metadata": {"annotations": {"note": "looked at"}}})
    other = deployment(team, make_model(cluster), pool.accelerator)
    other["metadata"]["name"] = "other"
    cluster.apply(other)
    wait_reason(cluster, other, "Scheduling")
    found = cluster.get(manifest)
    assert found is not None
    assert found["metadata"]["resourceVersion"] == settled
    assert cluster.get(child(team, pool)) == touched
    assert cluster.get(secret) == certificate


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"spec": {"replicas": 7}}, id="scaled"),
        pytest.param({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}, id="a changed field"),
        pytest.param({"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}}, id="an added field"),
        pytest.param({"spec": {"template": {"spec": {"hostNetwork": True}}}}, id="an added privilege"),
        pytest.param({"metadata": {"labels": {"stoker.dev/pool": None}}}, id="a removed label"),
        pytest.param({"spec": {"template": {"spec": {"initContainers": [{"name": "x", "image": "y"}]}}}}, id="a step"),
    ],
)
def test_hand_edited_children_return_to_the_plan(cluster: Cluster, team: str, edit: Json) -> None:
    pool = make_pool(cluster, 8)
    cluster.apply(deployment(team, make_model(cluster), pool.accelerator))
    planned = cluster.wait(child(team, pool), lambda found: found["spec"]["replicas"] == 1)
    edited = cluster.patch(child(team, pool), edit)
    assert edited["spec"] != planned["spec"] or edited["metadata"]["labels"] != planned["metadata"]["labels"]
    cluster.wait(
        child(team, pool),
        lambda found: found["spec"] == planned["spec"] and found["metadata"]["labels"] == planned["metadata"]["labels"],
    )


def test_foreign_objects_with_a_childs_name_are_left_alone(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    foreign = child(team, pool) | {
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "somebody/elses"}]},
            },
        }
    }
    before = cluster.apply(foreign, manager="somebody")
    manifest = deployment(team, make_model(cluster), pool.accelerator)
    cluster.apply(manifest)
    found = wait_reason(cluster, manifest, "NameTaken")
    assert condition(found, "ConfigResolved")["status"] == "False"
    assert f"chat-{pool.name}" in condition(found, "Ready")["message"]
    assert cluster.get(foreign) == before
    cluster.delete(foreign)
    wait_reason(cluster, manifest, "Scheduling")


def test_a_secret_with_the_certificates_name_is_left_alone(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat-worker-tls", "namespace": team}}
    before = cluster.apply(secret | {"data": {"mine": "YQ=="}}, manager="somebody")
    manifest = deployment(team, make_model(cluster), pool.accelerator)
    cluster.apply(manifest)
    wait_reason(cluster, manifest, "NameTaken")
    assert cluster.get(secret) == before
    assert not workloads(cluster, team)
    cluster.delete(secret)
    wait_reason(cluster, manifest, "Scheduling")


def test_a_deployment_that_goes_takes_its_children_along(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator)
    uid = cluster.apply(manifest)["metadata"]["uid"]
    workload = cluster.wait(child(team, pool), bool)
    assert workload["metadata"]["ownerReferences"][0]["uid"] == uid
    cluster.delete(manifest)
    cluster.wait_gone(child(team, pool))


def test_a_deployment_made_anew_gets_children_of_its_own(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator)
    cluster.apply(manifest)
    cluster.wait(child(team, pool), bool)
    cluster.delete(manifest)
    uid = cluster.apply(manifest)["metadata"]["uid"]
    cluster.wait(child(team, pool), lambda found: found["metadata"]["ownerReferences"][0]["uid"] == uid)
    wait_reason(cluster, manifest, "Scheduling")


def test_replicas_follow_the_scale_subresource_and_zero_is_a_state(cluster: Cluster, team: str) -> None:
    """`kubectl scale`, an autoscaler and the gateway write there; the operator never writes a spec."""
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator, autoscaling={"max": 4})
    del manifest["spec"]["replicas"]
    cluster.apply(manifest)
    found = wait_reason(cluster, manifest, "ScaledToZero")
    assert condition(found, "Ready")["status"] == "True"
    assert not workloads(cluster, team)
    cluster.patch(manifest, {"spec": {"replicas": 3}}, "scale", manager="some-autoscaler")
    cluster.wait(child(team, pool), lambda workload: workload["spec"]["replicas"] == 3)
    players = serving(cluster, team, pool, 3)
    found = wait_reason(cluster, manifest, "AllReplicasReady")
    assert found["status"]["selector"] == f"stoker.dev/deployment-uid={found['metadata']['uid']}"
    cluster.patch(manifest, {"spec": {"replicas": 0}}, "scale", manager="some-autoscaler")
    cluster.wait_gone(child(team, pool))
    for pod in players:
        cluster.delete(pod)
    found = cluster.wait(manifest, lambda one: one["status"]["replicas"] == 0)
    assert condition(found, "Ready")["reason"] == "ScaledToZero"
    spec_writers = {entry["manager"] for entry in found["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]}
    assert "stoker-operator" not in spec_writers


def test_a_shortage_is_named_until_there_is_room(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 2)
    manifest = deployment(team, make_model(cluster), pool.accelerator, count=2, replicas=2)
    cluster.apply(manifest)
    found = wait_reason(cluster, manifest, "InsufficientAccelerators")
    message = f"needs 2 × {pool.accelerator} in us-east-1: pool {pool.name} has 0 free of 2"
    assert condition(found, "CapacityAvailable")["message"] == message
    pool.add_node(2)
    wait_reason(cluster, manifest, "Scheduling")


def test_two_deployments_are_not_given_the_same_accelerators(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 2)
    first, second = (deployment(team, make_model(cluster), pool.accelerator, replicas=2) for _ in range(2))
    second["metadata"]["name"] = "second"
    cluster.apply(first)
    wait_reason(cluster, first, "Scheduling")
    cluster.apply(second)
    wait_reason(cluster, second, "InsufficientAccelerators")
    cluster.delete(first)
    wait_reason(cluster, second, "Scheduling")


def test_pools_tell_what_they_have(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 4, 4)
    cluster.apply(deployment(team, make_model(cluster), pool.accelerator, replicas=3))
    cluster.wait(child(team, pool), bool)
    players = Players(cluster, team)
    for _ in range(3):
        players.add(child(team, pool), pool.add_node(1))
    told = {"nodes": 5, "total": 11, "free": 8, "deployments": 1}
    cluster.wait(pool.manifest, lambda one: told.items() <= one.get("status", {}).items())


def test_events_tell_of_transitions_only(cluster: Cluster, team: str) -> None:
    pool = make_pool(cluster, 8)
    model_name = unique("late")
    manifest = deployment(team, model_name, pool.accelerator)
    cluster.apply(manifest)
    wait_reason(cluster, manifest, "ModelNotFound")
    cluster.apply(model(model_name))
    cluster.wait(child(team, pool), bool)
    serving(cluster, team, pool, 1)
    wait_reason(cluster, manifest, "AllReplicasReady")
    events = cluster.wait_list(EVENTS, team, lambda found: len(found) >= 2)
    assert sorted((event["type"], event["reason"]) for event in events) == [
        ("Normal", "AllReplicasReady"),
        ("Warning", "ModelNotFound"),
    ]


def serving(cluster: Cluster, team: str, pool: Pool, count: int) -> list[Json]:
    """So many of the workload's pods, which answer."""
    cluster.wait(child(team, pool), bool)
    players, node = Players(cluster, team), pool.add_node(count)
    pods = [players.add(child(team, pool), node) for _ in range(count)]
    for pod in pods:
        players.serve(pod)
    return pods

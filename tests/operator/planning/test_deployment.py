"""Everything about one Deployment at once: what is applied, kept and deleted for what is observed."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.api.model import ModelSpec
from stoker_operator.planning.capacity import Claim, is_member, less_claims, nano_usd, node_of
from stoker_operator.planning.deployment import Child, Plan, PodFacts, PoolFacts, World, plan
from stoker_operator.planning.placement import Node, Pool
from stoker_operator.planning.pod import Identity, Platform
from stoker_operator.planning.pods import Sign
from stoker_operator.planning.replica import Stage
from stoker_operator.planning.resolve import Catalogue, Named
from stoker_operator.planning.workload import Owner

PLATFORM = Platform({"nvidia.com/gpu": "worker:cuda"})
MODEL = {"id": "accounts/acme/models/m", "account": "acme", "source": {"uri": "embedded://m"}}
NAMED = Named("m", "2026-01-01T00:00:00Z", msgspec.convert(MODEL, ModelSpec))


def pool(name: str, *free: int, region: str = "us", resource: str = "nvidia.com/gpu") -> PoolFacts:
    spec = {"accelerator": "H100", "region": region, "nodeSelector": {"a": "b"}, "resourceName": resource}
    nodes = tuple(Node(8, room) for room in free)
    return PoolFacts(msgspec.convert(spec, GPUPoolSpec), Pool(name, region, "H100", 1, False, nodes))


def world(*pools: PoolFacts, models: bool = True, **spec: Any) -> World:
    made = msgspec.convert({"model": "m", "accelerator": {"type": "H100"}, "replicas": 2} | spec, DeploymentSpec)
    return World(
        owner=Owner(Identity("chat", "team", "u-1"), "stoker.dev/v1alpha1", "Deployment"),
        spec=made,
        catalogue=Catalogue("acme", {"m": NAMED} if models else {}, {}, frozenset()),
        platform=PLATFORM,
        pools={one.pool.name: one for one in pools},
    )


def after(before: World, stage: Stage = Stage.ROUTABLE) -> World:
    """The world once a plan was applied and its pods have come so far."""
    children, pods = {}, []
    for manifest in plan(before).apply:
        name = manifest["metadata"]["name"]
        pool_, digest = name.removeprefix("chat-"), manifest["metadata"]["labels"]["stoker.dev/plan"]
        fields: dict[str, Any] = {"f:metadata": {"f:labels": {}}, "f:spec": {"f:replicas": {}, "f:template": {}}}
        entry = {"manager": "stoker-operator", "operation": "Apply", "fieldsV1": fields}
        live = {**manifest, "metadata": {**manifest["metadata"], "managedFields": [entry]}}
        replicas = manifest["spec"]["replicas"]
        children[pool_] = Child(name, pool_, digest, replicas, live)
        pods += [
            PodFacts(f"{name}-{n}", pool_, digest, stage is not Stage.PENDING, Sign(stage)) for n in range(replicas)
        ]
    return replace(before, children=children, pods=pods)


def applied(made: Plan) -> dict[str, int]:
    return {manifest["metadata"]["name"]: manifest["spec"]["replicas"] for manifest in made.apply}


def ready(made: Plan) -> tuple[str, str]:
    return made.rungs[-1].reason, made.rungs[-1].message


def test_a_new_deployment() -> None:
    made = plan(world(pool("a", 8)))
    assert applied(made) == {"chat-a": 2}
    assert ready(made)[0] == "Scheduling"
    assert not made.wants_room


def test_one_that_serves_is_left_as_it_is() -> None:
    made = plan(after(world(pool("a", 6))))
    assert (applied(made), list(made.delete)) == ({"chat-a": 2}, [])
    assert ready(made) == ("AllReplicasReady", "2 of 2 replicas answer")


def test_replicas_that_wait_for_a_node_move_to_where_there_is_room() -> None:
    waiting = after(world(pool("a")), Stage.PENDING)
    moved = plan(replace(waiting, pools={one.pool.name: one for one in (pool("a"), pool("b", 8))}))
    assert applied(moved) == {"chat-b": 2}
    assert [child.name for child in moved.delete] == ["chat-a"]


def test_what_serves_outlives_its_model() -> None:
    serving = after(world(pool("a", 6)))
    made = plan(replace(serving, catalogue=Catalogue("acme", {}, {}, frozenset())))
    assert (applied(made), list(made.delete)) == ({}, [])
    assert ready(made)[0] == "ModelNotFound"
    assert ready(made)[1].endswith("(2 of an older generation still serve)")
    assert [(row.pool, row.replicas) for row in made.status.placements] == [("a", 2)]


def test_nobody_needs_a_model_to_end() -> None:
    serving = after(world(pool("a", 6)))
    ended = replace(serving, spec=msgspec.structs.replace(serving.spec, replicas=0))
    made = plan(replace(ended, catalogue=Catalogue("acme", {}, {}, frozenset())))
    assert [child.name for child in made.delete] == ["chat-a"]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        pytest.param(plan(world(pool("a", 8), models=False)), "ModelNotFound", id="no model"),
        pytest.param(plan(world()), "NoSuchAccelerator", id="no pool"),
        pytest.param(plan(world(pool("a", 8, resource="amd.com/gpu"))), "NoWorkerImage", id="no image"),
        pytest.param(plan(replace(world(pool("a", 8)), taken=frozenset({"chat-a"}))), "NameTaken", id="no name"),
    ],
)
def test_nothing_is_half_applied(made: Plan, reason: str) -> None:
    assert (applied(made), list(made.delete)) == ({}, [])
    assert ready(made)[0] == reason
    assert made.wants_room


def test_a_held_rollout_keeps_its_template_and_scales() -> None:
    serving = after(world(pool("a", 0)))
    spec = msgspec.convert(
        {"model": "m", "accelerator": {"type": "H100"}, "replicas": 3, "engine": {"maxBatch": 4}}, DeploymentSpec
    )
    made = plan(replace(serving, spec=spec))
    (manifest,) = made.apply
    assert manifest["spec"]["replicas"] == 3
    assert manifest["spec"]["template"] == serving.children["a"].live["spec"]["template"]
    assert ready(made)[0] == "InsufficientAccelerators"
    assert made.wants_room


def test_without_a_number_there_are_as_few_as_autoscaling_allows() -> None:
    demanded = world(pool("a", 8), autoscaling={"min": 1, "max": 4})
    demanded = replace(demanded, spec=msgspec.structs.replace(demanded.spec, replicas=None))
    assert applied(plan(demanded)) == {"chat-a": 1}


@pytest.mark.parametrize(
    ("free", "claims", "left"),
    [
        pytest.param([8, 4], [], [8, 4], id="none"),
        pytest.param([8, 4], [Claim("a", 2, 1)], [2, 8], id="where there is least room"),
        pytest.param([8, 4], [Claim("a", 1, 3), Claim("a", 8, 1)], [1, 0], id="the largest first"),
        pytest.param([2, 2], [Claim("a", 4, 1)], [2, 2], id="no node has so many"),
        pytest.param([8], [Claim("b", 1, 8)], [8], id="another pool's"),
        pytest.param([1], [Claim("a", 1, 5)], [0], id="more than there are"),
        pytest.param([-1, 2], [Claim("a", 1, 1)], [-1, 1], id="a node that is overfull"),
    ],
)
def test_what_claims_leave(free: list[int], claims: list[Claim], left: list[int]) -> None:
    made = less_claims(Pool("a", "us", "H100", 0, False, tuple(Node(8, room) for room in free)), claims)
    assert [node.free for node in made.nodes] == left


def test_nodes_of_a_pool() -> None:
    spec = pool("a").spec
    assert is_member(spec, {"a": "b", "c": "d"})
    assert not is_member(spec, {"a": "c"})
    assert node_of("nvidia.com/gpu", {"nvidia.com/gpu": 8000}, {"nvidia.com/gpu": 3000}) == Node(8, 5)
    assert node_of("cpu", {"cpu": 3500}, {"cpu": 600}) == Node(3, 2)
    assert (nano_usd("5"), nano_usd("0.000000001"), nano_usd("1.25")) == (5 * 10**9, 1, 1_250_000_000)

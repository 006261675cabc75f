"""Children have names that anyone can derive, belong to their deployment, and roll without losing replicas that serve."""

import re

import msgspec
import pytest

from stoker_operator.api.deployment import DeploymentSpec, WhenFull
from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.api.model import ModelSpec
from stoker_operator.planning.pod import Identity, Platform, WorkerPod
from stoker_operator.planning.resolve import Resolved
from stoker_operator.planning.rollout import GENTLE, IN_PLACE, PoolState, Rollout, Step, Surge, retained, roll
from stoker_operator.planning.workload import Owner, child_name, workload

IDENTITY = Identity("chat", "team", "u-1")
OWNER = Owner(IDENTITY, "stoker.dev/v1alpha1", "Deployment")


def pod(**spec: object) -> WorkerPod:
    made = msgspec.convert({"model": "m", "accelerator": {"type": "CPU"}, "replicas": 1} | spec, DeploymentSpec)
    model = msgspec.convert({"id": "accounts/a/models/m", "account": "a", "source": {"uri": "embedded://m"}}, ModelSpec)
    pool = msgspec.convert({"accelerator": "CPU", "region": "us", "nodeSelector": {"a": "b"}}, GPUPoolSpec)
    return WorkerPod(
        IDENTITY, made, Resolved("a", model, {}), "cpu-us", pool, Platform({"cpu": "cpu", "nvidia.com/gpu": "gpu"})
    )


@pytest.mark.parametrize(
    ("deployment", "pool", "readable"),
    [
        ("chat", "cpu-us", r"chat-cpu-us"),
        ("chat", "cpu.us", r"chat-cpu-us-[0-9a-f]{10}"),
        ("a" * 60, "p", r"a{41}-[0-9a-f]{10}"),
    ],
)
def test_names_are_readable_and_short(deployment: str, pool: str, readable: str) -> None:
    assert re.fullmatch(readable, child_name(deployment, pool))
    assert len(child_name(deployment, pool)) <= 52


def test_different_long_names_stay_different() -> None:
    assert child_name("a" * 60 + "1", "p") != child_name("a" * 60 + "2", "p")
    assert child_name("a.b", "p") != child_name("a-b", "p")


def test_a_child_belongs_to_its_deployment_and_selects_its_pods() -> None:
    made = workload(OWNER, pod(), 3, GENTLE)
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert made["spec"]["replicas"] == 3
    selector = made["spec"]["selector"]["matchLabels"]
    assert selector.items() <= made["spec"]["template"]["metadata"]["labels"].items()
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_plan_changes_with_what_pods_run_and_not_with_their_number() -> None:
    def plan(child: dict[str, object]) -> object:
        return child["metadata"]["labels"]["stoker.dev/plan"]  # type: ignore[index]

    one = plan(workload(OWNER, pod(), 1, GENTLE))
    assert plan(workload(OWNER, pod(replicas=5), 5, IN_PLACE)) == one
    assert plan(workload(OWNER, pod(engine={"maxBatch": 4}), 1, GENTLE)) != one


SHORT = "the change waits for 4 × H100 beside the replicas that serve; or set rollout.whenFull: InPlace"


@pytest.mark.parametrize(
    ("changed", "serving", "room", "rolling", "when_full", "decision"),
    [
        pytest.param(False, 2, 0, False, WhenFull.WAIT, Rollout(Step.APPLY, GENTLE), id="nothing changed"),
        pytest.param(True, 2, 1, False, WhenFull.WAIT, Rollout(Step.APPLY, GENTLE), id="room for one more"),
        pytest.param(True, 2, 0, True, WhenFull.WAIT, Rollout(Step.APPLY, GENTLE), id="its own surge took the room"),
        pytest.param(True, 2, 0, False, WhenFull.WAIT, Rollout(Step.HOLD, GENTLE, SHORT), id="full: wait"),
        pytest.param(True, 2, 0, False, WhenFull.IN_PLACE, Rollout(Step.APPLY, IN_PLACE), id="full: in place"),
        pytest.param(True, 0, 0, False, WhenFull.WAIT, Rollout(Step.APPLY, GENTLE), id="nobody is served"),
        pytest.param(True, 2, 3, False, WhenFull.IN_PLACE, Rollout(Step.APPLY, GENTLE), id="in place only when full"),
    ],
)
def test_rollouts(
    changed: bool, serving: int, room: int, rolling: bool, when_full: WhenFull, decision: Rollout
) -> None:
    assert roll(PoolState(changed, serving, room, rolling), when_full, "4 × H100") == decision


@pytest.mark.parametrize(
    ("broken", "room", "decision"),
    [
        pytest.param(1, 0, Rollout(Step.APPLY, Surge(0, 1)), id="a broken one gives way to the mended plan"),
        pytest.param(1, 1, Rollout(Step.APPLY, GENTLE), id="where there is room nobody gives way"),
        pytest.param(0, 0, Rollout(Step.HOLD, GENTLE, SHORT), id="those that serve stay"),
    ],
)
def test_a_mended_plan_does_not_wait_behind_what_it_mends(broken: int, room: int, decision: Rollout) -> None:
    assert roll(PoolState(True, 1, room, rolling=False, broken=broken), WhenFull.WAIT, "4 × H100") == decision


@pytest.mark.parametrize(
    ("wanted", "current", "serving", "desired", "running"),
    [
        pytest.param({"a": 2}, {"a": 2}, {"a": 2}, 2, {"a": 2}, id="as it is"),
        pytest.param({"a": 3}, {"a": 2}, {"a": 2}, 3, {"a": 3}, id="grows at once"),
        pytest.param({"a": 1}, {"a": 3}, {"a": 3}, 1, {"a": 1}, id="shrinks at once"),
        pytest.param({}, {"a": 3}, {"a": 3}, 0, {"a": 0}, id="to zero"),
        pytest.param({"b": 2}, {"a": 2}, {"a": 2}, 2, {"a": 2, "b": 2}, id="moves: the old ones stay"),
        pytest.param({"b": 2}, {"a": 2, "b": 2}, {"a": 2, "b": 1}, 2, {"a": 1, "b": 2}, id="one is there, one may go"),
        pytest.param({"b": 2}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, 2, {"a": 0, "b": 2}, id="all are there"),
        pytest.param(
            {"b": 2}, {"a": 2, "b": 2}, {"a": 1, "b": 0}, 2, {"a": 1, "b": 2}, id="who does not answer may go"
        ),
        pytest.param({"b": 1}, {"a": 2}, {"a": 2}, 1, {"a": 1, "b": 1}, id="moves and shrinks"),
        pytest.param({"b": 2}, {"a": 2, "b": 2}, {"a": 2, "b": 3}, 2, {"a": 0, "b": 2}, id="a surge counts once"),
    ],
)
def test_who_serves_stays_until_others_do(
    wanted: dict[str, int], current: dict[str, int], serving: dict[str, int], desired: int, running: dict[str, int]
) -> None:
    assert retained(wanted, current, serving, desired) == running

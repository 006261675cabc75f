"""A deployment's spec changes while clients stream: it rolls, and no client notices."""

import time

import pytest
from e2e.kit import evidence
from e2e.kit.manifests import deployment, model
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker, condition, is_ready
from e2e.kit.traffic import Traffic
from e2e.kit.waiting import until

pytestmark = pytest.mark.ci
REQUESTS = 200


def test_no_request_fails_while_it_rolls(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    stoker.cluster.apply(model("rolled", "rolling"), deployment(tenant, "chat", "rolled", replicas=2))
    stoker.ready(tenant, "chat")
    old = {pod.name: pod.plan for pod in stoker.pods(tenant, deployment="chat")}

    with Traffic(stoker, "rolling") as traffic:
        traffic.more(10)
        began = time.monotonic()
        stoker.cluster.apply(deployment(tenant, "chat", "rolled", replicas=2, engine={"maxBatch": 4}))
        blocked = stoker.condition(tenant, "chat", "Ready", "EngineStarting", 30)
        assert "of an older generation still serve" in blocked["message"]
        evidence.show(stoker.cluster, "rolling", tenant)
        until(lambda: _ready_is_honest(stoker, tenant, old), "the new generation is Ready", 120)
        record_property("rollout_s", round(time.monotonic() - began, 1))
        measured = traffic.unharmed(REQUESTS)

    until(lambda: len(stoker.pods(tenant, deployment="chat")) == 2, "the old pods are gone", 90)
    new = stoker.pods(tenant, deployment="chat")
    assert all(pod.ready and pod.plan not in old.values() for pod in new), new
    assert {pod.name for pod in new}.isdisjoint(old)
    for name, value in measured.items():
        record_property(name, value)


def _ready_is_honest(stoker: Stoker, tenant: str, old: dict[str, str]) -> bool:
    """Whether it is Ready; then, and not before, every wanted replica of the new generation answers."""
    found = stoker.deployment(tenant, "chat")
    if not is_ready(found):
        assert (
            condition(found, "Ready")["status"] != "True"
            or found["metadata"]["generation"] > found["status"]["observedGeneration"]
        )
        return False
    new = [pod for pod in stoker.pods(tenant, deployment="chat") if pod.plan not in old.values() and not pod.leaving]
    assert [pod.ready for pod in new] == [True, True]
    assert found["status"]["updatedReplicas"] == found["status"]["readyReplicas"] == 2
    return True

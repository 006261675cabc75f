"""A node has eight GPUs and six are taken: a deployment that needs four says what it lacks, and comes up when it can."""

import time

import pytest
from e2e.kit import evidence
from e2e.kit.manifests import deployment, gpu_pool, model
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker, conditions
from e2e.kit.traffic import ask
from e2e.kit.waiting import until

pytestmark = pytest.mark.ci
POOL = "gpu-h100-local"


def test_a_deployment_waits_for_gpus(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    stoker.cluster.apply(
        gpu_pool(POOL), model("large"), deployment(tenant, "first", "large", accelerator="H100", count=6)
    )
    stoker.ready(tenant, "first")
    _pool_says(stoker, total=8, free=2)

    stoker.cluster.apply(deployment(tenant, "second", "large", accelerator="H100", count=4))
    blocked = stoker.condition(tenant, "second", "CapacityAvailable", "InsufficientAccelerators")
    assert f"needs 4 × H100 in local: pool {POOL} has 2 free of 8" in blocked["message"]
    found = stoker.deployment(tenant, "second")
    assert any(line.startswith("Ready=False InsufficientAccelerators: needs 4 × H100") for line in conditions(found))
    assert not [pod for pod in stoker.pods(tenant, deployment="second") if pod.ready]
    evidence.show(stoker.cluster, "blocked", tenant)

    began = time.monotonic()
    stoker.cluster.kubectl("-n", tenant, "delete", "sdep", "first")
    stoker.ready(tenant, "second")
    record_property("freed_to_ready_s", round(time.monotonic() - began, 1))
    _pool_says(stoker, total=8, free=4)
    with stoker.client() as http:
        assert not ask(http, "accounts/default/models/large").error


def test_what_no_node_can_hold_is_said_at_once(stoker: Stoker, tenant: str) -> None:
    stoker.cluster.apply(
        gpu_pool(POOL), model("huge"), deployment(tenant, "huge", "huge", accelerator="H100", count=16)
    )
    blocked = stoker.condition(tenant, "huge", "ConfigResolved", "ReplicaLargerThanNode", 30)
    assert "a replica asks for 16 × H100 and the largest node has 8" in blocked["message"]


def _pool_says(stoker: Stoker, *, total: int, free: int) -> None:
    path = f"/apis/stoker.dev/v1alpha1/gpupools/{POOL}"

    def status() -> dict[str, int]:
        found: dict[str, int] = stoker.get(path).get("status", {})
        return found

    until(
        lambda: (status().get("total"), status().get("free")) == (total, free),
        f"the pool has {free} free of {total}",
        60,
        status,
    )

"""One of two workers dies while clients stream: its engine, all of it, or for want of memory. No client notices."""

import time

import pytest
from e2e.kit.manifests import deployment, model
from e2e.kit.pods import Pod, kill
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker
from e2e.kit.traffic import Traffic
from e2e.kit.waiting import until
from hack.kube.access import CommandFailure

# Many small processes, so that the worker's engine is the largest when memory ends.
HOG = """
import os, time
for _ in range(60):
    if not os.fork():
        held = bytearray(os.urandom(1)) * (48 << 20)
        time.sleep(600)
    time.sleep(0.05)
time.sleep(20)
"""


@pytest.fixture
def victim(stoker: Stoker, tenant: str) -> Pod:
    stoker.cluster.apply(model("hardy"), deployment(tenant, "pair", "hardy", replicas=2))
    stoker.ready(tenant, "pair")
    return stoker.pods(tenant, deployment="pair")[0]


def test_the_engine_is_killed(stoker: Stoker, victim: Pod, record_property: Measure) -> None:
    with Traffic(stoker, "accounts/default/models/hardy") as traffic:
        traffic.more(10)
        began = time.monotonic()
        assert len(kill(victim, "stoker_worker", "engine")) == 1
        # Its front starts it again: no container restarts.
        until(lambda: not _now(stoker, victim).ready, "the worker is not ready", 30, lambda: _now(stoker, victim))
        _back(stoker, victim)
        record_property("back_after_s", round(time.monotonic() - began, 1))
        assert _now(stoker, victim).restarts == 0
        traffic.more(10)
        _recorded(traffic, record_property)


def test_the_container_is_killed(stoker: Stoker, victim: Pod, record_property: Measure) -> None:
    with Traffic(stoker, "accounts/default/models/hardy") as traffic:
        traffic.more(10)
        began = time.monotonic()
        assert kill(victim)
        until(lambda: _now(stoker, victim).restarts == 1, "the container has restarted", 60)
        _back(stoker, victim)
        record_property("back_after_s", round(time.monotonic() - began, 1))
        traffic.more(10)
        _recorded(traffic, record_property)


def test_memory_ends(stoker: Stoker, victim: Pod, record_property: Measure) -> None:
    with Traffic(stoker, "accounts/default/models/hardy") as traffic:
        traffic.more(10)
        began = time.monotonic()
        with pytest.raises(CommandFailure, match="137"):
            stoker.cluster.kubectl("-n", victim.namespace, "exec", victim.name, "--", "python3", "-c", HOG)
        until(lambda: _endings(stoker, victim) == ["OOMKilled"], "the container was killed for want of memory", 60)
        _back(stoker, victim)
        record_property("back_after_s", round(time.monotonic() - began, 1))
        events = stoker.get(f"/api/v1/namespaces/{victim.namespace}/events", fieldSelector="involvedObject.name=pair")
        assert "OutOfMemory" in [event["reason"] for event in events["items"]]
        traffic.more(10)
        _recorded(traffic, record_property)


def _now(stoker: Stoker, victim: Pod) -> Pod:
    return next(pod for pod in stoker.pods(victim.namespace, deployment="pair") if pod.uid == victim.uid)


def _endings(stoker: Stoker, victim: Pod) -> list[str]:
    """How its containers ended before."""
    found = stoker.get(f"/api/v1/namespaces/{victim.namespace}/pods/{victim.name}")
    return [one["lastState"].get("terminated", {}).get("reason", "") for one in found["status"]["containerStatuses"]]


def _back(stoker: Stoker, victim: Pod) -> None:
    until(lambda: _now(stoker, victim).ready, "the worker is ready again", 120, lambda: _now(stoker, victim))
    stoker.ready(victim.namespace, "pair")


def _recorded(traffic: Traffic, record_property: Measure) -> None:
    for name, value in traffic.unharmed().items():
        record_property(name, value)

"""A deployment goes from one replica to two, to none, and the next request wakes it: it waits, and is answered."""

import time

from e2e.kit.manifests import deployment, model
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker
from e2e.kit.traffic import Traffic, ask
from e2e.kit.waiting import until


def test_one_two_none_and_woken(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    autoscaled = deployment(tenant, "naps", "sleepy", autoscaling={"min": 0, "max": 2})
    del autoscaled["spec"]["replicas"]  # the scale subresource has them
    stoker.cluster.apply(model("sleepy"), autoscaled)
    _scale(stoker, tenant, 1)
    name = "accounts/default/models/sleepy"

    with Traffic(stoker, name) as traffic:
        traffic.more(5)
        record_property("one_to_two_s", _scale(stoker, tenant, 2))
        traffic.more(10)
        _scale(stoker, tenant, 1)
        traffic.more(10)
        measured = traffic.unharmed()

    record_property("requests", measured["requests"])
    record_property("one_to_none_s", _scale(stoker, tenant, 0))
    assert stoker.condition(tenant, "naps", "Ready", "ScaledToZero")["status"] == "True"

    began = time.monotonic()
    with stoker.client(timeout_s=120) as http:
        answer = ask(http, name)
    assert not answer.error, answer
    record_property("held_s", round(time.monotonic() - began, 1))
    assert stoker.deployment(tenant, "naps")["spec"]["replicas"] == 1
    stoker.ready(tenant, "naps")
    # Whoever applies the manifest again leaves the number alone: it is the scale subresource's.
    stoker.cluster.apply(autoscaled)
    assert stoker.deployment(tenant, "naps")["spec"]["replicas"] == 1


def _scale(stoker: Stoker, tenant: str, replicas: int) -> float:
    """Scale, and wait until so many pods are there and answer; returns how long that took."""
    began = time.monotonic()
    stoker.cluster.kubectl("-n", tenant, "scale", "sdep", "naps", f"--replicas={replicas}")
    stoker.ready(tenant, "naps")
    until(
        lambda: [pod.ready for pod in stoker.pods(tenant, deployment="naps")] == [True] * replicas,
        f"{replicas} pods",
        100,
        lambda: stoker.pods(tenant, deployment="naps"),
    )
    return round(time.monotonic() - began, 1)

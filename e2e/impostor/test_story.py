"""Somebody else's pods wear the labels of a deployment's workers, and run a real worker: they get no traffic."""

from typing import Any

import pytest
from e2e.kit.manifests import Object, deployment, model, namespace
from e2e.kit.pods import Pod
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker
from e2e.kit.traffic import Traffic
from e2e.kit.waiting import until

FOREIGN = "mallory"


@pytest.fixture
def honest(stoker: Stoker, tenant: str) -> Any:
    """A worker pod of a deployment with traffic, as the API server has it."""
    stoker.cluster.apply(model("wanted"), deployment(tenant, "chat", "wanted"))
    stoker.ready(tenant, "chat")
    pod = stoker.pods(tenant, deployment="chat")[0]
    return stoker.get(f"/api/v1/namespaces/{tenant}/pods/{pod.name}")


def test_labels_alone_bring_no_traffic(stoker: Stoker, tenant: str, honest: Any, record_property: Measure) -> None:
    # The other tenant has a deployment, and so a certificate of the same authority.
    stoker.cluster.apply(namespace(FOREIGN, account=FOREIGN), deployment(FOREIGN, "own", "wanted", tier="OnDemand"))
    stoker.ready(FOREIGN, "own")
    certificate = stoker.get(f"/api/v1/namespaces/{FOREIGN}/secrets/own-worker-tls")["data"]
    stolen = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": certificate}
    stoker.cluster.apply(
        stolen | {"metadata": {"name": "foreign-tls", "namespace": tenant}},
        _impostor(honest, "elsewhere", FOREIGN, "own-worker-tls"),
        _impostor(honest, "inside", tenant, "foreign-tls"),  # the right namespace, but not the right certificate
    )
    impostors = [_started(stoker, FOREIGN, "elsewhere"), _started(stoker, tenant, "inside")]

    with Traffic(stoker, "accounts/default/models/wanted") as traffic:
        traffic.more(60)
        record_property("requests", traffic.unharmed()["requests"])
    for pod in impostors:
        assert stoker.metric(pod, "stoker_worker_requests_ended_total") == 0
        assert stoker.metric(pod, "stoker_worker_gateways") == 0
    assert not any(pod.ready for pod in (_pod(stoker, FOREIGN, "elsewhere"), _pod(stoker, tenant, "inside")))
    stoker.ready(tenant, "chat")
    assert stoker.deployment(tenant, "chat")["status"]["readyReplicas"] == 1


def _impostor(honest: Any, name: str, namespace: str, secret: str) -> Object:
    """The honest pod's double, with another certificate."""
    spec = {
        key: value
        for key, value in honest["spec"].items()
        if key not in ("nodeName", "serviceAccount", "serviceAccountName")
    }
    volumes = [volume for volume in spec["volumes"] if volume["name"] != "tls"]
    spec["volumes"] = [*volumes, {"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}}]
    labels = {key: value for key, value in honest["metadata"]["labels"].items() if key != "pod-template-hash"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _started(stoker: Stoker, namespace: str, name: str) -> Pod:
    """Wait until its engine is loaded: it could serve."""

    def started() -> bool:
        found = stoker.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        return any(one.get("started") for one in found["status"].get("containerStatuses", ()))

    until(started, f"{namespace}/{name} has started", 120, lambda: stoker.cluster.kubectl("get", "pods", "-A"))
    return _pod(stoker, namespace, name)


def _pod(stoker: Stoker, namespace: str, name: str) -> Pod:
    return Pod.of(stoker.get(f"/api/v1/namespaces/{namespace}/pods/{name}"))

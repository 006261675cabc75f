"""What the API server lets pass and what it refuses, with the words that a person gets to read."""

from typing import Any

import pytest
from tests.operator.cluster.cluster import Cluster, Denied, Json
from tests.operator.cluster.stage import unique

CPU = {"type": "CPU", "count": 2}
GPU = {"type": "H100", "count": 8}

ACCEPTED = [
    pytest.param("Model", {}, id="a model inside the image"),
    pytest.param(
        "Model", {"source": {"uri": "hf://meta-llama/Llama-3.3-70B", "revision": "abc"}}, id="a model on a hub"
    ),
    pytest.param(
        "Model", {"source": {"uri": "s3://bucket/a/b", "secretRef": {"name": "keys"}}}, id="a model in a bucket"
    ),
    pytest.param(
        "Model", {"source": {"uri": "pvc://claim/x"}, "aliases": ["gpt-4o", "x:y/z"]}, id="a model on a claim"
    ),
    pytest.param("Model", {"pricing": {"inputPerMTok": "0.90", "outputPerMTok": "1"}}, id="a model with prices"),
    pytest.param("Model", {"task": "Embed", "visibility": "Public", "contextLength": 512}, id="an embedding model"),
    pytest.param("GPUPool", {}, id="a pool of accelerators"),
    pytest.param("GPUPool", {"accelerator": "CPU", "resourceName": None}, id="a pool of cores"),
    pytest.param("GPUPool", {"tolerations": [{"key": "gpu", "operator": "Exists"}], "spot": True}, id="a spot pool"),
    pytest.param("Deployment", {}, id="a small deployment"),
    pytest.param("Deployment", {"replicas": 0}, id="none wanted"),
    pytest.param("Deployment", {"replicas": None, "autoscaling": {"max": 8}}, id="replicas by demand"),
    pytest.param("Deployment", {"autoscaling": {"min": 1, "max": 1}}, id="both"),
    pytest.param("Deployment", {"tier": "FineTuned", "adapters": ["tone"]}, id="with adapters"),
    pytest.param("Deployment", {"regions": ["us-east-1", "eu-west-1"], "accelerator": GPU}, id="in two regions"),
    pytest.param(
        "Deployment",
        {
            "podPatch": {
                "labels": {"team": "search"},
                "annotations": {"note": "x"},
                "resources": {"requests": {"memory": "4Gi"}, "limits": {"cpu": "1500m", "memory": "8Gi"}},
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
                "priorityClassName": "high",
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                ],
                "volumes": [{"name": "v", "mountPath": "/v", "emptyDir": {"sizeLimit": "1Gi"}}],
            }
        },
        id="a patched pod",
    ),
    pytest.param("Adapter", {}, id="an adapter"),
    pytest.param("Adapter", {"rank": 16, "source": {"uri": "pvc://claim/tone"}}, id="an adapter with a rank"),
]

REFUSED = [
    pytest.param("Model", {"id": "my-model"}, "spec.id", id="an id without an account"),
    pytest.param("Model", {"id": "accounts/other/models/m"}, "id must begin with accounts/", id="another's id"),
    pytest.param("Model", {"source": {"uri": "file:///etc"}}, "spec.source.uri", id="a source on the node"),
    pytest.param("Model", {"source": {"uri": "hf://a/b"}}, "set revision", id="a hub without a revision"),
    pytest.param("Model", {"source": {"uri": "s3://a", "revision": "x"}}, "remove revision", id="a bucket with one"),
    pytest.param(
        "Model",
        {"source": {"uri": "embedded://a", "secretRef": {"name": "x"}}},
        "remove secretRef",
        id="a needless secret",
    ),
    pytest.param("Model", {"pricing": {"inputPerMTok": "-1"}}, "inputPerMTok", id="a negative price"),
    pytest.param("Model", {"contextLength": 0}, "contextLength", id="no context"),
    pytest.param("Model", {"task": "Draw"}, "spec.task", id="an unknown task"),
    pytest.param("Model", {"account": None}, "spec.account", id="no account"),
    pytest.param("GPUPool", {"resourceName": None}, "set resourceName", id="accelerators that nothing counts"),
    pytest.param("GPUPool", {"accelerator": "CPU"}, "remove resourceName", id="cores that a plugin counts"),
    pytest.param("GPUPool", {"nodeSelector": {}}, "nodeSelector", id="all nodes of the cluster"),
    pytest.param("GPUPool", {"pricePerGPUHour": "five"}, "pricePerGPUHour", id="a price in words"),
    pytest.param("GPUPool", {"region": "US East"}, "spec.region", id="a region that is no label"),
    pytest.param("Deployment", {"replicas": None}, "set replicas, or autoscaling", id="no number of replicas"),
    pytest.param("Deployment", {"replicas": -1}, "spec.replicas", id="negative replicas"),
    pytest.param("Deployment", {"autoscaling": {"min": 3, "max": 2}}, "min must not exceed max", id="min > max"),
    pytest.param("Deployment", {"accelerator": {"type": "H100", "count": 0}}, "count", id="no accelerators"),
    pytest.param("Deployment", {"accelerator": {"type": "h100"}}, "accelerator.type", id="a type in lower case"),
    pytest.param("Deployment", {"accelerator": None}, "spec.accelerator", id="no accelerator at all"),
    pytest.param("Deployment", {"adapters": ["tone"]}, "adapters need tier: FineTuned", id="adapters on a plain tier"),
    pytest.param("Deployment", {"tier": "Free"}, "spec.tier", id="an unknown tier"),
    pytest.param("Deployment", {"regions": ["us", "us"]}, "Duplicate", id="a region twice"),
    pytest.param("Deployment", {"rollout": {"whenFull": "Panic"}}, "whenFull", id="an unknown rollout"),
    pytest.param("Deployment", {"autoscaling": {"max": 2, "scaleUpWindow": "soon"}}, "scaleUpWindow", id="no duration"),
    pytest.param(
        "Deployment", {"podPatch": {"resources": {"limits": {"memory": "lots"}}}}, "memory", id="a malformed quantity"
    ),
    pytest.param(
        "Deployment",
        {"podPatch": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}},
        "accelerator says how many",
        id="accelerators by the patch",
    ),
    pytest.param("Deployment", {"podPatch": {"labels": {"stoker.dev/pool": "x"}}}, "the operator's", id="our label"),
    pytest.param(
        "Deployment", {"podPatch": {"env": [{"name": "STOKER_X", "value": "1"}]}}, "the operator's", id="our variable"
    ),
    pytest.param("Deployment", {"podPatch": {"env": [{"name": "A"}]}}, "set either value", id="a variable of nothing"),
    pytest.param(
        "Deployment",
        {"podPatch": {"volumes": [{"name": "v", "mountPath": "/v", "hostPath": {"path": "/"}}]}},
        "set either emptyDir",
        id="the node's files",
    ),
    pytest.param(
        "Deployment",
        {"podPatch": {"volumes": [{"name": "v", "mountPath": "/etc/stoker/tls", "emptyDir": {}}]}},
        "outside /etc/stoker",
        id="over the certificates",
    ),
    pytest.param("Adapter", {"base": None}, "spec.base", id="an adapter of nothing"),
    pytest.param("Adapter", {"rank": 0}, "spec.rank", id="an adapter without rank"),
    pytest.param("Adapter", {"source": {"uri": "hf://a/b"}}, "set revision", id="an adapter without a revision"),
]

FIXED = [
    pytest.param("Model", {"id": "accounts/acme/models/other"}, "id cannot change", id="a model's id"),
    pytest.param("GPUPool", {"region": "mars"}, "region cannot change", id="a pool's region"),
    pytest.param("GPUPool", {"accelerator": "H200"}, "accelerator cannot change", id="a pool's accelerator"),
    pytest.param("Deployment", {"model": "other"}, "model cannot change", id="a deployment's model"),
    pytest.param("Deployment", {"tier": "Serverless"}, "tier cannot change", id="a deployment's tier"),
    pytest.param("Adapter", {"base": "other"}, "base cannot change", id="an adapter's base"),
]

SPECS: dict[str, Json] = {
    "Model": {"id": "accounts/acme/models/m", "account": "acme", "source": {"uri": "embedded://m"}},
    "GPUPool": {
        "accelerator": "H100",
        "region": "us-east-1",
        "nodeSelector": {"a": "b"},
        "resourceName": "nvidia.com/gpu",
    },
    "Deployment": {"model": "m", "accelerator": CPU, "replicas": 1},
    "Adapter": {"id": "accounts/acme/models/tone", "base": "m", "source": {"uri": "s3://bucket/tone"}},
}


def manifest(kind: str, team: str, change: dict[str, Any], name: str = "") -> Json:
    metadata = {"name": name or unique("one")} | ({"namespace": team} if kind in ("Deployment", "Adapter") else {})
    spec = {key: value for key, value in (SPECS[kind] | change).items() if value is not None}
    return {"apiVersion": "stoker.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(("kind", "change"), ACCEPTED)
def test_accepted(cluster: Cluster, team: str, kind: str, change: dict[str, Any]) -> None:
    cluster.create(manifest(kind, team, change), dry_run=True)


@pytest.mark.parametrize(("kind", "change", "says"), REFUSED)
def test_refused(cluster: Cluster, team: str, kind: str, change: dict[str, Any], says: str) -> None:
    with pytest.raises(Denied) as refusal:
        cluster.create(manifest(kind, team, change), dry_run=True)
    assert refusal.value.status == 422
    assert says in refusal.value.message


@pytest.mark.parametrize(("kind", "change", "says"), FIXED)
def test_what_cannot_change(cluster: Cluster, team: str, kind: str, change: dict[str, Any], says: str) -> None:
    made = manifest(kind, team, {"replicas": 0} if kind == "Deployment" else {})
    cluster.apply(made)
    try:
        with pytest.raises(Denied, match=says):
            cluster.apply(manifest(kind, team, change, made["metadata"]["name"]))
    finally:
        cluster.delete(made)


@pytest.mark.parametrize("kind", SPECS)
def test_names_that_fit_no_label_are_refused(cluster: Cluster, team: str, kind: str) -> None:
    cluster.create(manifest(kind, team, {}, "a" * 63), dry_run=True)
    with pytest.raises(Denied, match="at most 63"):
        cluster.create(manifest(kind, team, {}, "a" * 64), dry_run=True)

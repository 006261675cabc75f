"""Worker pods: restricted, told everything the worker's own command line understands, patched only where that is allowed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.api.model import ModelSpec
from stoker_operator.planning.pod import Identity, Platform, WorkerPod
from stoker_operator.planning.resolve import Resolved
from stoker_worker.fetch.settings import parse_fetch
from stoker_worker.settings import parse_serve

CPU_POOL = {"accelerator": "CPU", "region": "us", "nodeSelector": {"pool": "cpu"}}
GPU_POOL = {
    "accelerator": "H100",
    "region": "us",
    "nodeSelector": {"gpu": "h100"},
    "resourceName": "nvidia.com/gpu",
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
PLATFORM = Platform({"cpu": "worker:cpu", "nvidia.com/gpu": "worker:cuda"}, {"s3": "https://store.local"})
MODEL = {"id": "accounts/a/models/m", "account": "a", "source": {"uri": "embedded://m.gguf"}}


PROGRESS = "--progress-listen=0.0.0.0:9090"


def pod(
    *, spec: dict[str, Any] | None = None, model: dict[str, Any] | None = None, gpu: bool = False
) -> dict[str, Any]:
    accelerator = {"type": "H100", "count": 4} if gpu else {"type": "CPU", "count": 2}
    made = msgspec.convert({"model": "m", "accelerator": accelerator, "replicas": 1} | (spec or {}), DeploymentSpec)
    resolved = Resolved("a", msgspec.convert(MODEL | (model or {}), ModelSpec), {})
    pool = msgspec.convert(GPU_POOL if gpu else CPU_POOL, GPUPoolSpec)
    return WorkerPod(Identity("chat", "team", "u-1"), made, resolved, "p", pool, PLATFORM).template()


def worker(template: dict[str, Any]) -> dict[str, Any]:
    (container,) = template["spec"]["containers"]
    return dict(container)


def test_the_worker_understands_its_command_line(tmp_path: Path) -> None:
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / name).touch()
    verb, *arguments = worker(pod(spec={"engine": {"maxContextTokens": 4096, "maxBatch": 16}}))["args"]
    settings, engine = parse_serve([word.replace("/etc/stoker/tls", str(tmp_path)) for word in arguments])
    assert verb == "serve"
    # Aliases move between Models; a worker that was told of them would have to be replaced each time.
    assert (settings.model_id, settings.aliases) == ("accounts/a/models/m", ("m",))
    assert (settings.region, settings.pool, settings.tier, settings.deployment_uid) == ("us", "p", "OnDemand", "u-1")
    assert (engine.model_path, engine.threads) == (Path("/models/m.gguf"), 2)
    assert (engine.max_context, engine.max_batch_sequences, engine.precision) == (4096, 16, "auto")
    assert settings.tls is not None


@pytest.mark.parametrize(
    ("gpu", "image", "resources"),
    [
        (False, "worker:cpu", {"requests": {"cpu": "2"}}),
        (True, "worker:cuda", {"requests": {"nvidia.com/gpu": "4"}, "limits": {"nvidia.com/gpu": "4"}}),
    ],
)
def test_accelerators_come_from_the_pool(gpu: bool, image: str, resources: dict[str, Any]) -> None:
    template = pod(gpu=gpu)
    assert (worker(template)["image"], worker(template)["resources"]) == (image, resources)
    assert template["spec"]["nodeSelector"] == ({"gpu": "h100"} if gpu else {"pool": "cpu"})
    assert len(template["spec"].get("tolerations", [])) == gpu


def test_pods_are_restricted_and_have_no_token() -> None:
    template = pod(model={"source": {"uri": "hf://a/b", "revision": "abc"}})
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    for container in (*template["spec"]["containers"], *template["spec"]["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize(
    ("source", "path", "fetch"),
    [
        ({"uri": "embedded://m.gguf"}, "/models/m.gguf", None),
        ({"uri": "pvc://claim/llama/q4.gguf"}, "/weights/llama/q4.gguf", None),
        ({"uri": "pvc://claim"}, "/weights", None),
        (
            {"uri": "hf://a/b", "revision": "abc", "secretRef": {"name": "hf"}},
            "/weights/model",
            ["fetch", "--source=hf://a/b", "--revision=abc", "--to=/weights/model", PROGRESS],
        ),
        (
            {"uri": "s3://bucket/x"},
            "/weights/model",
            ["fetch", "--source=s3://bucket/x", "--to=/weights/model", "--endpoint=https://store.local", PROGRESS],
        ),
    ],
)
def test_weights(source: dict[str, Any], path: str, fetch: list[str] | None) -> None:
    template = pod(model={"source": source})
    assert f"--model={path}" in worker(template)["args"]
    steps = template["spec"].get("initContainers", [])
    assert [step["args"] for step in steps] == ([fetch] if fetch else [])
    for step in steps:
        assert str(parse_fetch(step["args"][1:], {}).to) == path, "the worker's own command line understands it"
    token = {"secretKeyRef": {"name": "hf", "key": "HF_TOKEN", "optional": True}}
    assert [step.get("env") for step in steps if "secretRef" in source] == (
        [[{"name": "HF_TOKEN", "valueFrom": token}]] if "secretRef" in source else []
    )


def test_a_patch_changes_what_it_may_and_no_label_of_ours() -> None:
    patch = {
        "labels": {"team": "search", "stoker.dev/deployment": "other"},
        "annotations": {"note": "x"},
        "resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "8Gi"}},
        "affinity": {"podAntiAffinity": {"x": []}},
        "priorityClassName": "high",
        "env": [{"name": "A", "value": "b"}, {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "volumes": [{"name": "scratch", "mountPath": "/scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    template = pod(spec={"podPatch": patch})
    found = worker(template)
    assert template["metadata"]["labels"] | {"team": "search"} == template["metadata"]["labels"]
    assert template["metadata"]["labels"]["stoker.dev/deployment"] == "chat"
    assert found["resources"] == {"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}}
    assert [variable["name"] for variable in found["env"]] == ["POD_NAME", "A", "S"]
    assert {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}} in template["spec"]["volumes"]
    assert {"name": "scratch", "mountPath": "/scratch", "readOnly": False} in found["volumeMounts"]
    assert (template["spec"]["affinity"], template["spec"]["priorityClassName"]) == (
        {"podAntiAffinity": {"x": []}},
        "high",
    )


def test_everything_about_stopping_derives_from_one_number() -> None:
    template = pod()
    assert "--drain-timeout=60" in worker(template)["args"]
    assert template["spec"]["terminationGracePeriodSeconds"] == 75

"""The verb `plan`: the operator's planner on paper."""

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker_operator.__main__ import main
from stoker_operator.preview import preview
from stoker_operator.settings import parse_plan

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {stoker.dev/account: acme}}
"""
POOL = """
apiVersion: stoker.dev/v1alpha1
kind: GPUPool
metadata: {name: h100-us}
spec: {accelerator: H100, region: us, nodeSelector: {gpu: h100}, resourceName: nvidia.com/gpu}
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {gpu: h100}}
status: {allocatable: {nvidia.com/gpu: "2"}, conditions: [{type: Ready, status: "True"}]}
"""
MODEL = """
apiVersion: stoker.dev/v1alpha1
kind: Model
metadata: {name: m}
spec: {id: accounts/acme/models/m, account: acme, source: {uri: embedded://m.gguf}}
"""
DEPLOYMENT = """
apiVersion: stoker.dev/v1alpha1
kind: Deployment
metadata: {name: chat, namespace: team}
spec: {model: m, accelerator: {type: H100, count: 2}, replicas: 2}
"""


async def planned(tmp_path: Path, *documents: str) -> tuple[int, str, list[dict[str, Any]]]:
    """The exit code, the text, and the manifests in it."""
    path = tmp_path / "all.yaml"
    path.write_text("\n---\n".join(documents))
    output = io.StringIO()
    code = await preview(parse_plan([f"--file={path}"]), io.StringIO(), output)
    return code, output.getvalue(), [one for one in yaml.safe_load_all(output.getvalue()) if one]


async def test_what_would_be_applied_and_why(tmp_path: Path) -> None:
    code, text, manifests = await planned(tmp_path, NAMESPACE, POOL, NODE, MODEL, DEPLOYMENT)
    assert code == 0
    assert "2 on pool h100-us in us" in text
    assert "needs 2 × H100 in us: pool h100-us has 0 free of 2" in text
    assert "create apps/Deployment chat-h100-us" in text
    (workload,) = manifests
    assert (workload["metadata"]["name"], workload["spec"]["replicas"]) == ("chat-h100-us", 2)


async def test_what_cannot_be_applied_says_why(tmp_path: Path) -> None:
    code, text, manifests = await planned(tmp_path, NAMESPACE, POOL, DEPLOYMENT)
    assert (code, manifests) == (3, [])
    assert "ModelNotFound: there is no Model m that account acme may use" in text


async def test_the_plan_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = [await planned(tmp_path, NAMESPACE, POOL, NODE, MODEL, DEPLOYMENT) for _ in range(2)]
    assert first == second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("a: [", "no YAML", id="broken"),
        pytest.param("just words", "no Kubernetes object", id="words"),
        pytest.param(MODEL, "hold no Deployment", id="nothing to plan"),
        pytest.param(
            DEPLOYMENT.replace("replicas: 2", "replicas: many"), "Deployment chat", id="a spec that cannot be read"
        ),
    ],
)
def test_files_that_cannot_be_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert main(["plan", "-f", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_definitions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crds"]) == 0
    kinds = [one["spec"]["names"]["kind"] for one in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == ["Model", "GPUPool", "Deployment", "Adapter"]


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["run"], ["run", "--namespace=x", "--worker-image=cpu=y", "--kubeconfig=/no"]]
)
def test_what_cannot_work_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("stoker operator: ")

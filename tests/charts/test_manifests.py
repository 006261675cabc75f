"""Every manifest that people are told to apply is one that the API server takes."""

from pathlib import Path

import pytest
from hack.chart import ROOT, Object, objects
from tests.charts.chart import Api, applied

FILES = sorted([*(ROOT / "manifests" / "samples").glob("*.yaml"), *(ROOT / "manifests" / "models").glob("*.yaml")])


@pytest.fixture(scope="module", autouse=True)
def _namespaces(api: Api) -> None:
    """They must be there before what is in them can be tried."""
    everything = [item for file in FILES for item in objects(file.read_text())]
    applied(api, *(item for item in everything if item["kind"] == "Namespace"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_api_server_takes_it(api: Api, file: Path) -> None:
    found = objects(file.read_text())
    assert found
    for item in found:
        answer = api.apply(item, dry_run=True)
        assert answer.is_success, answer.text


def test_what_deployments_name_is_in_a_manifest() -> None:
    everything = [item for file in FILES for item in objects(file.read_text())]
    models = {item["metadata"]["name"] for item in everything if item["kind"] == "Model"}
    accelerators = {item["spec"]["accelerator"] for item in everything if item["kind"] == "GPUPool"}
    deployments = [item for item in everything if item["kind"] == "Deployment"]
    assert {item["spec"]["model"] for item in deployments} <= models
    assert {item["spec"]["accelerator"]["type"] for item in deployments} <= accelerators


def test_no_two_models_claim_one_name() -> None:
    names = [name for file in FILES for item in objects(file.read_text()) for name in names_of(item)]
    assert len(set(names)) == len(names)


def names_of(item: Object) -> list[str]:
    spec = item.get("spec", {})
    return [spec["id"], *spec.get("aliases", [])] if item["kind"] == "Model" else []

"""Values that cannot work are refused by name."""

import json
from typing import Any

import pytest
import yaml
from hack.chart import CHART, HelmFailure, template

from stoker_gateway import settings

Values = dict[str, Any]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        pytest.param({"gatewy": {}}, "additional properties 'gatewy' not allowed", id="a typing error"),
        pytest.param({"gateway": {"replica": 2}}, "at '/gateway': additional properties 'replica'", id="deeper down"),
        pytest.param({"gateway": {"replicas": "two"}}, "at '/gateway/replicas': got string, want integer", id="a word"),
        pytest.param({"gateway": {"replicas": -1}}, "at '/gateway/replicas': minimum", id="fewer than none"),
        pytest.param(
            {"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of", id="an enum"
        ),
        pytest.param({"gateway": {"image": {"repository": "UPPER"}}}, "/gateway/image/repository", id="no repository"),
        pytest.param({"gateway": {"image": {"digest": "sha256:1"}}}, "/gateway/image/digest", id="half a digest"),
        pytest.param(
            {"gateway": {"ingress": {"enabled": True}}}, "/gateway/ingress/hosts", id="an ingress without a host"
        ),
        pytest.param({"gateway": {"httpRoute": {"enabled": True}}}, "/gateway/httpRoute/parentRefs", id="no gateway"),
        pytest.param({"gateway": {"limits": {"maxHeld": 0}}}, "at '/gateway/limits/maxHeld': minimum", id="no room"),
        pytest.param({"gateway": {"limits": {"maxQueue": 1}}}, "additional properties 'maxQueue'", id="no such bound"),
        pytest.param({"gateway": {"service": {"type": "ExternalName"}}}, "/gateway/service/type", id="no such Service"),
        pytest.param({"gateway": {"extraArgs": ["serve"]}}, "/gateway/extraArgs/0", id="an argument that is no option"),
        pytest.param({"operator": {"leaseDurationSeconds": 1}}, "/operator/leaseDurationSeconds", id="a hasty lease"),
        pytest.param(
            {"operator": {"podDisruptionBudget": {"maxUnavailable": 0}}}, "maxUnavailable", id="no drain ever"
        ),
        pytest.param({"workers": {"hfEndpoint": "hub.example"}}, "/workers/hfEndpoint", id="no URL"),
        pytest.param({"region": "US East"}, "at '/region'", id="a region that no pool can have"),
        pytest.param({"apiKeys": {"records": [{"id": "k"}]}}, "at '/apiKeys/records/0'", id="half a key"),
        pytest.param(
            {"apiKeys": {"records": [{"id": "k", "account": "a", "sha256": "sk-stoker-x", "created_unix_s": 1}]}},
            "/apiKeys/records/0/sha256",
            id="a key in clear",
        ),
        pytest.param(
            {"priorityClasses": {"controlPlane": 2_000_000_000}}, "/priorityClasses/controlPlane", id="too high"
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(values: Values, said: str) -> None:
    with pytest.raises(HelmFailure) as refused:
        template(values)
    assert said in str(refused.value)


def test_globals_of_a_parent_chart_are_let_pass() -> None:
    assert template({"global": {"imageRegistry": "elsewhere"}})


def test_every_default_is_described_by_the_schema() -> None:
    """So that a new value cannot be forgotten in the schema, and nothing is in the schema that has no default."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for component in (None, "operator", "gateway", "workers", "networkPolicy", "image", "apiKeys"):
        described = schema["properties"][component]["properties"] if component else schema["properties"]
        given = values[component] if component else values
        assert set(described) - {"global"} == set(given), component


def test_the_bounds_of_a_gateway_are_those_it_knows() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    bounds = schema["properties"]["gateway"]["properties"]["limits"]["properties"]
    known = {option.name for option in settings.OPTIONS}
    options = {flag(name) for name in bounds}
    assert options <= known
    assert {name for name in known if name.startswith("max-") or name.endswith("-timeout")} - options == {
        "drain-timeout"
    }


def flag(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix("Seconds"))

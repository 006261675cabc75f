"""The resources' definitions: small, and of one mind with what our own decoder accepts."""

import msgspec
import pytest
import yaml

from stoker_operator.api.crd import crd
from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.model import ModelSpec
from stoker_operator.api.resources import RESOURCES, Resource

BYTES_AT_MOST = 100_000  # a definition that is larger cannot be applied on the client's side

MODEL = {"id": "accounts/a/models/m", "account": "a", "source": {"uri": "embedded://m"}}
DEPLOYMENT = {"model": "m", "accelerator": {"type": "CPU"}, "replicas": 1}


def nodes(schema: object) -> list[dict[str, object]]:
    """Every object in a schema."""
    if isinstance(schema, list):
        return [node for item in schema for node in nodes(item)]
    if not isinstance(schema, dict):
        return []
    return [schema, *(node for value in schema.values() for node in nodes(value))]


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_definitions_are_small_structural_and_documented(resource: Resource) -> None:
    made = crd(resource)
    assert len(yaml.safe_dump(made)) < BYTES_AT_MOST
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert not [node for node in nodes(schema) if "$ref" in node or "anyOf" in node]
    for node in nodes(schema):
        properties = node.get("properties")
        for name, field in properties.items() if isinstance(properties, dict) else ():
            assert field.get("description"), name
            assert field.get("type"), name


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        pytest.param(ModelSpec, MODEL | {"id": "my-model"}, id="an id without an account"),
        pytest.param(ModelSpec, MODEL | {"source": {"uri": "file:///etc"}}, id="a source on the node"),
        pytest.param(ModelSpec, MODEL | {"contextLength": 0}, id="no context"),
        pytest.param(ModelSpec, MODEL | {"pricing": {"inputPerMTok": "-1"}}, id="a negative price"),
        pytest.param(DeploymentSpec, DEPLOYMENT | {"replicas": -1}, id="negative replicas"),
        pytest.param(DeploymentSpec, DEPLOYMENT | {"accelerator": {"type": "H100", "count": 0}}, id="no accelerators"),
        pytest.param(DeploymentSpec, DEPLOYMENT | {"tier": "Free"}, id="an unknown tier"),
        pytest.param(DeploymentSpec, {"model": "m", "replicas": 1}, id="no accelerator at all"),
    ],
)
def test_the_decoder_refuses_what_the_schema_refuses(type_: type, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, type_)


def test_a_small_deployment_gets_its_defaults() -> None:
    spec = msgspec.convert(DEPLOYMENT, DeploymentSpec)
    assert (spec.tier, spec.accelerator.count, spec.rollout.when_full) == ("OnDemand", 1, "Wait")
    assert spec.engine.precision == "auto"

"""CustomResourceDefinitions, made from the typed resources."""

from collections.abc import Mapping
from typing import Any

import msgspec

from stoker_operator.api.resources import CATEGORY, GROUP, VERSION, Column, Resource

Schema = dict[str, Any]

# What JSON Schema has and Kubernetes does not.
DROPPED = ("title", "$defs")


def crd(resource: Resource) -> Schema:
    """The manifest of a resource's CustomResourceDefinition."""
    names = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.kind.lower(),
        "shortNames": list(resource.short_names),
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.crd_name},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [_version(resource)],
        },
    }


def _version(resource: Resource) -> Schema:
    subresources: Schema = {"status": {}}
    if resource.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema(resource)},
        "subresources": subresources,
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
    }


def _object_schema(resource: Resource) -> Schema:
    spec = structural(resource.spec)
    if resource.rules is not None and resource.rules.extra_json_schema:
        spec |= resource.rules.extra_json_schema
    return {
        "type": "object",
        "description": resource.description,
        # Names become values of labels, on pods for example.
        "x-kubernetes-validations": [
            {"rule": "size(self.metadata.name) <= 63", "message": "the name must have at most 63 characters"}
        ],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": structural(resource.status),
        },
    }


def _column(column: Column) -> Schema:
    made: Schema = {"name": column.name, "jsonPath": column.path, "type": column.type}
    return made | {"priority": 1} if column.wide else made


def structural(structure: type[msgspec.Struct]) -> Schema:
    """A structure's schema as Kubernetes wants it: no references, no unions, a type everywhere."""
    schema = msgspec.json.schema(structure)
    return _resolved(schema, schema.get("$defs", {}))


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Schema]) -> Schema:
    """`node` without references and alternatives of null."""
    node = dict(node)
    if "$ref" in node:
        definition = definitions[node.pop("$ref").rpartition("/")[2]]
        # What stands beside a reference describes this use of it and goes before what the type says of itself.
        return _resolved({**definition, **node}, definitions)
    if "anyOf" in node:
        (alternative,) = (option for option in node.pop("anyOf") if option.get("type") != "null")
        return _resolved({**alternative, **node}, definitions)
    made = {key: value for key, value in node.items() if not _is_idle(key, value)}
    if "enum" in made:
        made["type"] = "string"
    if "items" in made:
        made["items"] = _resolved(made["items"], definitions)
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _resolved(made["additionalProperties"], definitions)
    if "properties" in made:
        made["properties"] = {name: _resolved(value, definitions) for name, value in made["properties"].items()}
    return made


def _is_idle(key: str, value: Any) -> bool:
    """Whether leaving the key out says the same."""
    return key in DROPPED or (key == "required" and not value) or (key == "default" and value in (None, [], (), {}, ""))

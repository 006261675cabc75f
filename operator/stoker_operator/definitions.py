"""The verb `crds`: the resources' definitions, on paper or in the cluster."""

from typing import TextIO

import yaml

from stoker_core.api_server import Access
from stoker_operator.api.crd import crd
from stoker_operator.api.resources import RESOURCES
from stoker_operator.kube.client import connected
from stoker_operator.kube.paths import CRDS


def print_definitions(output: TextIO) -> None:
    """All of them, as YAML."""
    yaml.safe_dump_all([crd(resource) for resource in RESOURCES], output, sort_keys=False, allow_unicode=True)


async def apply_definitions(access: Access, output: TextIO) -> None:
    """Make the cluster's definitions these; objects that exist stay. Raises KubeError."""
    async with connected(access) as client:
        for resource in RESOURCES:
            answer = await client.apply(CRDS, crd(resource))
            output.write(f"{answer['metadata']['name']} is at generation {answer['metadata']['generation']}\n")

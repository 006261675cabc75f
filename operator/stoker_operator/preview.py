"""The verb `plan`: the operator's own planner over files, and over a cluster if one is named."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO
from uuid import NAMESPACE_URL, uuid5

import msgspec
import yaml

from stoker_operator.api.conditions import ConditionStatus
from stoker_operator.cluster.cache import Cache
from stoker_operator.cluster.records import Custom
from stoker_operator.errors import ManifestError
from stoker_operator.kube.access import from_kubeconfig
from stoker_operator.kube.client import FIELD_MANAGER, Client, connected
from stoker_operator.kube.paths import DEPLOYMENTS, WATCHED, Collection
from stoker_operator.planning.deployment import Plan, World, plan
from stoker_operator.planning.drift import drift
from stoker_operator.process import platform
from stoker_operator.reconcile.observe import secrets_named, world_of
from stoker_operator.reconcile.secrets import Presence
from stoker_operator.settings import PlanSettings

KINDS = {(collection.api_version, collection.kind): collection for collection in WATCHED}
EXIT_BLOCKED = 3


async def preview(settings: PlanSettings, stdin: TextIO, output: TextIO) -> int:
    """Write each Deployment's plan; the exit code is 0, or 3 if one cannot be applied. Raises ManifestError, KubeError."""
    documents = list(_documents(settings.files, stdin))
    if settings.kubeconfig is None:
        return _write_plans(_known(documents, settings.namespace, Cache()), settings, output, secrets=None)
    async with connected(from_kubeconfig(settings.kubeconfig)) as client:
        cache = await _cluster(client)
        deployments = _known(documents, settings.namespace, cache)
        secrets = {one.ref.uid: await _present(client, cache, one) for one in deployments[1] if one.spec}
        return _write_plans(deployments, settings, output, secrets)


async def _cluster(client: Client) -> Cache:
    cache = Cache()
    for collection in WATCHED:
        for item in (await client.list_all(collection))[0]:
            cache.put(collection, item)
    return cache


async def _present(client: Client, cache: Cache, record: Custom) -> frozenset[str]:
    return await Presence(client).present(record.ref.namespace, secrets_named(cache, record.ref.namespace, record.spec))


def _documents(files: Iterable[Path], stdin: TextIO) -> Iterator[dict[str, Any]]:
    for path in files:
        try:
            text = stdin.read() if path == Path("-") else path.read_text()
            documents = list(yaml.safe_load_all(text))
        except OSError as error:
            raise ManifestError(f"{path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise ManifestError(f"{path} is no YAML: {error}") from None
        for document in filter(None, documents):
            if not isinstance(document, dict) or "kind" not in document or "name" not in document.get("metadata", {}):
                raise ManifestError(f"{path} holds something that is no Kubernetes object")
            yield document


def _known(documents: Iterable[Mapping[str, Any]], namespace: str, cache: Cache) -> tuple[Cache, list[Custom]]:
    """The cache with the files' objects in it, and the files' Deployments."""
    deployments = []
    for document in documents:
        collection = KINDS.get((document.get("apiVersion", ""), document["kind"]))
        if collection is not None:
            cache.put(collection, _as_read(document, collection, namespace, cache))
            if collection == DEPLOYMENTS:
                deployments.append((document["metadata"].get("namespace", namespace), document["metadata"]["name"]))
    if not deployments:
        raise ManifestError("the files hold no Deployment of stoker.dev/v1alpha1")
    found = [cache.custom(DEPLOYMENTS, *name) for name in deployments]
    return cache, [one for one in found if one]


def _as_read(document: Mapping[str, Any], collection: Collection, namespace: str, cache: Cache) -> dict[str, Any]:
    """The object as the API server would have it: newer than what is there, and with that one's identity."""
    metadata = dict(document["metadata"])
    if collection.namespaced:
        metadata.setdefault("namespace", namespace)
    found = cache.find(collection, metadata.get("namespace", ""), metadata["name"])
    key = "/".join((collection.kind, metadata.get("namespace", ""), metadata["name"]))
    metadata["uid"] = found.uid if found else str(uuid5(NAMESPACE_URL, key))
    metadata["resourceVersion"] = str(sys.maxsize)
    return {**document, "metadata": metadata}


def _write_plans(
    known: tuple[Cache, list[Custom]],
    settings: PlanSettings,
    output: TextIO,
    secrets: Mapping[str, frozenset[str]] | None,
) -> int:
    cache, deployments = known
    blocked = False
    for record in deployments:
        if record.spec is None:
            raise ManifestError(f"Deployment {record.ref.name}: {record.problem}")
        named = frozenset(secrets_named(cache, record.ref.namespace, record.spec))
        there = named if secrets is None else secrets[record.ref.uid]
        world = world_of(cache, record, platform(settings.workers), there)
        made = plan(world)
        _write(world, made, output)
        blocked |= made.rungs[0].status is not ConditionStatus.TRUE
    return EXIT_BLOCKED if blocked else 0


def _write(world: World, made: Plan, output: TextIO) -> None:
    identity = world.owner.identity
    output.write(f"# Deployment {identity.namespace}/{identity.name}: {world.desired} replicas wanted\n")
    output.writelines(f"#   {line}\n" for line in made.why)
    output.writelines(f"# delete apps/Deployment {child.name}: nobody needs it any more\n" for child in made.delete)
    live = {child.name: child.live for child in world.children.values()}
    for manifest in made.apply:
        name = manifest["metadata"]["name"]
        output.write(f"# {_what(manifest, live.get(name))} apps/Deployment {name}\n---\n")
        yaml.safe_dump(msgspec.to_builtins(manifest), output, sort_keys=False, allow_unicode=True)


def _what(manifest: Mapping[str, Any], live: Mapping[str, Any] | None) -> str:
    if live is None:
        return "create"
    return "change" if drift(manifest, live, FIELD_MANAGER, roots=("spec",)) else "leave as it is:"

"""A Deployment's world, put together from the cache."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from stoker_operator.api.deployment import DeploymentSpec
from stoker_operator.api.resources import DEPLOYMENT
from stoker_operator.cluster.cache import Cache
from stoker_operator.cluster.records import Custom, Workload
from stoker_operator.kube import paths
from stoker_operator.kube.paths import ADAPTERS, GPU_POOLS, MODELS
from stoker_operator.planning.capacity import less_claims
from stoker_operator.planning.deployment import Child, PodFacts, PoolFacts, World
from stoker_operator.planning.pod import Identity, Platform
from stoker_operator.planning.pods import Sign
from stoker_operator.planning.replica import Stage
from stoker_operator.planning.resolve import Catalogue, Named
from stoker_operator.planning.workload import Owner


def owner_of(record: Custom) -> Owner:
    """The Deployment, as its children name it."""
    ref = record.ref
    return Owner(Identity(ref.name, ref.namespace, ref.uid), paths.DEPLOYMENTS.api_version, DEPLOYMENT.kind)


def world_of(
    cache: Cache,
    record: Custom,
    platform: Platform,
    secrets: frozenset[str],
    downloads: Mapping[str, str] = MappingProxyType({}),
) -> World:
    """Everything that a decision about the Deployment may depend on. Its spec must be readable.

    downloads  how far those are that go on, in words, by pod's uid
    """
    children = own_children(cache, record)
    return World(
        owner=owner_of(record),
        spec=record.spec,
        catalogue=_catalogue(cache, record, secrets),
        platform=platform,
        pools=_pools(cache, record.ref.uid),
        children={child.pool: _child(child) for child in children},
        taken=_taken(cache, record, children),
        pods=[
            PodFacts(pod.ref.name, pod.pool, pod.plan, pod.active, _told(pod.sign, downloads.get(pod.ref.uid, "")))
            for pod in cache.pods_of(record.ref)
            if pod.sign
        ],
    )


def _told(sign: Sign, download: str) -> Sign:
    """With how far its download is, while there is nothing worse to tell."""
    return replace(sign, detail=download) if sign.stage is Stage.FETCHING and not sign.trouble and download else sign


def own_children(cache: Cache, record: Custom) -> list[Workload]:
    """Workloads of this very Deployment."""
    return [
        child
        for child in cache.workloads_of(record.ref.namespace, record.ref.name)
        if child.owner and child.owner.uid == record.ref.uid
    ]


def secrets_named(cache: Cache, namespace: str, spec: DeploymentSpec) -> set[str]:
    """Secrets that the deployment's model and adapters need in its namespace."""
    named = [cache.custom(MODELS, "", spec.model)]
    named += [cache.custom(ADAPTERS, namespace, name) for name in spec.adapters]
    sources = [one.spec.source for one in named if one and one.spec]
    return {source.secret_ref.name for source in sources if source.secret_ref}


def models(cache: Cache) -> Mapping[str, Named]:
    """All Models that can be read, by name."""
    return {
        one.ref.name: Named(one.ref.name, one.created, one.spec)
        for one in cache.customs(MODELS)
        if one.spec is not None
    }


def _pools(cache: Cache, uid: str) -> dict[str, PoolFacts]:
    claims = cache.usage.claims(besides=uid)
    return {
        one.ref.name: PoolFacts(one.spec, less_claims(cache.pool(one), claims))
        for one in cache.customs(GPU_POOLS)
        if one.spec is not None
    }


def _catalogue(cache: Cache, record: Custom, secrets: frozenset[str]) -> Catalogue:
    namespace = record.ref.namespace
    adapters = {
        one.ref.name: one.spec for one in cache.customs(ADAPTERS) if one.spec and one.ref.namespace == namespace
    }
    return Catalogue(cache.account(namespace), models(cache), adapters, secrets)


def _child(child: Workload) -> Child:
    return Child(child.ref.name, child.pool, child.plan, child.replicas, child.live())


def _taken(cache: Cache, record: Custom, own: list[Workload]) -> frozenset[str]:
    names = {child.ref.name for child in own}
    return frozenset(cache.workload_names(record.ref.namespace) - names)

"""What a gateway reads of a cluster's objects, parsed once where they come in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from stoker_core import identity, labels
from stoker_gateway.routing.catalog import Catalog, CatalogDeployment, CatalogModel
from stoker_gateway.workers.target import Target

WIRE_PORT = 8443


class _Struct(msgspec.Struct, rename="camel", frozen=True):
    pass


class Metadata(_Struct, frozen=True):
    """Of any object."""

    name: str
    uid: str = ""
    namespace: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: Mapping[str, str] = {}


class ModelSpec(_Struct, frozen=True):
    """What routing needs of it."""

    id: str
    account: str
    visibility: str = "Private"
    aliases: tuple[str, ...] = ()


class Model(_Struct, frozen=True):
    """A Model."""

    metadata: Metadata
    spec: ModelSpec


class Autoscaling(_Struct, frozen=True):
    """What routing needs of it."""

    min: int = 0


class DeploymentSpec(_Struct, frozen=True):
    """What routing needs of it."""

    model: str
    tier: str = "OnDemand"
    replicas: int | None = None
    autoscaling: Autoscaling | None = None

    @property
    def wanted(self) -> int:
        """Replicas; as long as nobody has written a number, autoscaling's smallest."""
        if self.replicas is not None:
            return self.replicas
        return self.autoscaling.min if self.autoscaling else 0


class Deployment(_Struct, frozen=True):
    """A Deployment."""

    metadata: Metadata
    spec: DeploymentSpec


class PodStatus(_Struct, frozen=True, rename={"pod_ip": "podIP"}):
    """Where it is, once it is anywhere."""

    phase: str = ""
    pod_ip: str = ""


class Pod(_Struct, frozen=True):
    """A worker, by its labels. What they say is believed only as far as its certificate proves it."""

    metadata: Metadata
    status: PodStatus = PodStatus()


class Namespace(_Struct, frozen=True):
    """Its label says whose it is."""

    metadata: Metadata


Object = Model | Deployment | Pod | Namespace


@dataclass(frozen=True, slots=True)
class Kind:
    """What is watched: the path of all objects of a kind, a label selector, and how one is parsed."""

    path: str
    parse: Callable[[Any], Object]
    selector: str = ""


def _parser(kind: type[Object]) -> Callable[[Any], Object]:
    return lambda value: msgspec.convert(value, kind)


MODELS = Kind("/apis/stoker.dev/v1alpha1/models", _parser(Model))
DEPLOYMENTS = Kind("/apis/stoker.dev/v1alpha1/deployments", _parser(Deployment))
NAMESPACES = Kind("/api/v1/namespaces", _parser(Namespace), labels.ACCOUNT)
PODS = Kind("/api/v1/pods", _parser(Pod), f"{labels.COMPONENT}={labels.WORKER}")


def catalog_of(models: Iterable[Model], deployments: Iterable[Deployment], namespaces: Iterable[Namespace]) -> Catalog:
    """Deployments belong to their namespace's account; those in a namespace without one belong to nobody."""
    accounts = {one.metadata.name: one.metadata.labels[labels.ACCOUNT] for one in namespaces}
    by_name = {model.metadata.name: model for model in models}
    return Catalog.of(
        [_model(model) for model in by_name.values()],
        [
            _deployment(one, by_name[one.spec.model].spec.id, accounts[one.metadata.namespace])
            for one in deployments
            if one.spec.model in by_name and one.metadata.namespace in accounts and not one.metadata.deletion_timestamp
        ],
    )


def targets_of(pods: Iterable[Pod], catalog: Catalog) -> list[Target]:
    """Workers that may get traffic: pods in the namespace of the Deployment that they are labelled with.

    Each must show the certificate of that Deployment, which only its own namespace has.
    """
    found = []
    for pod in pods:
        deployment = catalog.deployments.get(pod.metadata.labels.get(labels.DEPLOYMENT_UID, ""))
        if deployment is None or deployment.namespace != pod.metadata.namespace:
            continue
        if pod.status.phase == "Running" and pod.status.pod_ip:
            found.append(_target(pod, deployment))
    return found


def _model(model: Model) -> CatalogModel:
    spec, metadata = model.spec, model.metadata
    public = spec.visibility == "Public"
    return CatalogModel(metadata.name, spec.id, spec.account, public, spec.aliases, metadata.creation_timestamp)


def _deployment(deployment: Deployment, model_id: str, account: str) -> CatalogDeployment:
    metadata, spec = deployment.metadata, deployment.spec
    return CatalogDeployment(
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        account=account,
        model_id=model_id,
        tier=spec.tier,
        replicas=spec.wanted,
        created=metadata.creation_timestamp,
    )


def _target(pod: Pod, deployment: CatalogDeployment) -> Target:
    ip, told = pod.status.pod_ip, pod.metadata.labels
    return Target(
        address=f"[{ip}]:{WIRE_PORT}" if ":" in ip else f"{ip}:{WIRE_PORT}",
        identity=identity.worker(deployment.uid),
        model_id=deployment.model_id,
        deployment_uid=deployment.uid,
        generation=int(datetime.fromisoformat(pod.metadata.creation_timestamp).timestamp()),  # of pods, rises as well
        region=told.get(labels.REGION, ""),
        pool=told.get(labels.POOL, ""),
        tier=deployment.tier,
    )

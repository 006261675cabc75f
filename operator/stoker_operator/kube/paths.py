"""Where the API server keeps each kind."""

from dataclasses import dataclass
from urllib.parse import quote

from stoker_operator.api.resources import ADAPTER, DEPLOYMENT, GPU_POOL, GROUP, MODEL, VERSION, Resource


@dataclass(frozen=True, slots=True)
class Collection:
    """All objects of a kind. `group` is "" for the core."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of the collection, of one namespace's part of it, of an object or of its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(quote(part, safe="") for part in parts)


def custom(resource: Resource) -> Collection:
    """Of one of our own kinds."""
    return Collection(GROUP, VERSION, resource.plural, resource.kind, resource.namespaced)


DEPLOYMENTS, MODELS, GPU_POOLS, ADAPTERS = map(custom, (DEPLOYMENT, MODEL, GPU_POOL, ADAPTER))
WORKLOADS = Collection("apps", "v1", "deployments", "Deployment")
PODS = Collection("", "v1", "pods", "Pod")
NODES = Collection("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Collection("", "v1", "namespaces", "Namespace", namespaced=False)
SECRETS = Collection("", "v1", "secrets", "Secret")
EVENTS = Collection("", "v1", "events", "Event")
LEASES = Collection("coordination.k8s.io", "v1", "leases", "Lease")
CRDS = Collection("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)

# What the cache holds: events of these kinds lead to reconciles.
WATCHED = (NAMESPACES, NODES, GPU_POOLS, MODELS, ADAPTERS, DEPLOYMENTS, WORKLOADS, PODS)

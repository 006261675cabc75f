"""Objects that the chart renders, and the API server's opinion of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import httpx
from hack.chart import NAMESPACE, Object

CLUSTER_WIDE = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "GPUPool",
        "Model",
        "Namespace",
        "PriorityClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
IRREGULAR = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses"}
IRREGULAR |= {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}


def one(found: Iterable[Object], kind: str, name: str) -> Object:
    """The object of this kind and name, of which there is exactly one."""
    (match,) = [item for item in found if item["kind"] == kind and item["metadata"]["name"] == name]
    return match


def arguments(workload: Object) -> list[str]:
    """The command line of a workload's only container."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return list(container["args"])


def pod_of(workload: Object) -> Object:
    """A pod as the workload's controller would make it."""
    template_ = workload["spec"]["template"]
    metadata = {**template_["metadata"], "name": workload["metadata"]["name"], "namespace": namespace_of(workload)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template_["spec"]}


def namespace_of(item: Object) -> str:
    return str(item["metadata"].get("namespace", NAMESPACE))


def path(item: Object, subresource: str = "") -> str:
    """Where the API server has the object."""
    version, kind = item["apiVersion"], item["kind"]
    plural = IRREGULAR.get(kind, kind.lower() + "s")
    parts = ["api" if version == "v1" else "apis", version]
    parts += [] if kind in CLUSTER_WIDE else ["namespaces", namespace_of(item)]
    return "/" + "/".join([*parts, plural, item["metadata"]["name"], *([subresource] if subresource else [])])


@dataclass(frozen=True, slots=True)
class Api:
    """Requests as one user."""

    client: httpx.Client
    headers: Mapping[str, str]

    def apply(self, item: Object, *, dry_run: bool = False) -> httpx.Response:
        """Server-side apply; a field that the API server does not know is an error."""
        query = {"fieldManager": "tests", "force": "true", "fieldValidation": "Strict"}
        query |= {"dryRun": "All"} if dry_run else {}
        headers = {**self.headers, "Content-Type": "application/apply-patch+yaml"}
        return self.client.patch(path(item), params=query, content=json.dumps(item), headers=headers)

    def patch(self, item: Object, change: Object, subresource: str = "", *, dry_run: bool = False) -> httpx.Response:
        """A merge patch."""
        headers = {**self.headers, "Content-Type": "application/merge-patch+json"}
        query = {"dryRun": "All"} if dry_run else {}
        return self.client.patch(path(item, subresource), params=query, content=json.dumps(change), headers=headers)

    def get(self, item: Object) -> httpx.Response:
        return self.client.get(path(item), headers=self.headers)

    def create(self, item: Object) -> httpx.Response:
        headers = {**self.headers, "Content-Type": "application/json"}
        return self.client.post(path(item).rpartition("/")[0], content=json.dumps(item), headers=headers)

    def delete(self, item: Object) -> httpx.Response:
        return self.client.delete(path(item), headers=self.headers)

    def impersonating(self, user: str) -> "Api":
        """The same API server, as somebody else."""
        return Api(self.client, {"Impersonate-User": user, "Impersonate-Group": "system:authenticated"})


def applied(api: Api, *items: Object) -> None:
    """Apply objects for real."""
    for item in items:
        answer = api.apply(item)
        assert answer.is_success, f"{item['kind']} {item['metadata']['name']}: {answer.text}"

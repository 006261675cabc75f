"""Stoker is uninstalled: workers go on, a new install takes them over, and in the end nothing is left but what was said."""

from collections.abc import Iterator

from e2e.conftest import TAG
from e2e.kit.manifests import Object, cpu_pool, deployment, model, namespace
from e2e.kit.stoker import NAMESPACE, RELEASE, Stoker
from e2e.kit.traffic import ask
from e2e.kit.waiting import until

MODEL = "accounts/default/models/lasting"
DEFINITIONS = {f"{kind}.stoker.dev" for kind in ("models", "gpupools", "deployments", "adapters")}
KEPT = {
    *(("CustomResourceDefinition", name) for name in DEFINITIONS),
    ("Secret", "stoker-pki"),
    ("Secret", "stoker-gateway-tls"),
    ("Lease", "stoker-operator"),
}


def test_what_stays_and_what_goes(stoker: Stoker) -> None:
    tenant = "uninstall"
    stoker.cluster.apply(namespace(tenant), cpu_pool(), model("lasting"), deployment(tenant, "chat", "lasting"))
    stoker.ready(tenant, "chat")
    worker = stoker.pods(tenant, deployment="chat")[0]

    # What helm makes for a test, it does not remove with the release.
    stoker.cluster.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout", "90s")
    said = stoker.uninstall()
    assert all(name in said for name in DEFINITIONS)
    until(lambda: _ours(stoker) == KEPT, "only what is kept is left", 60, lambda: _ours(stoker) ^ KEPT)
    assert stoker.pods(tenant, deployment="chat")[0].uid == worker.uid

    # A new install goes on where this one stopped: with the same worker.
    stoker.helm("install", TAG)
    stoker.ready(tenant, "chat")
    with stoker.client() as http:
        assert not ask(http, MODEL).error
    after = stoker.pods(tenant, deployment="chat")
    assert [(pod.uid, pod.restarts) for pod in after] == [(worker.uid, 0)]

    # All of it goes, as the guide says; and no Deployment waits for an operator to be deleted.
    stoker.uninstall()
    kubectl = stoker.cluster.kubectl
    kubectl("delete", "deployments.stoker.dev", "--all", "--all-namespaces", "--timeout=60s")
    until(lambda: not stoker.pods(tenant, component="worker"), "the workers are gone", 100)
    kubectl("delete", "crd", *DEFINITIONS, "--timeout=60s")
    kubectl("delete", "namespace", tenant, NAMESPACE, "--timeout=100s")
    assert not _ours(stoker)


def _ours(stoker: Stoker) -> set[tuple[str, str]]:
    """(kind, name) of all that is of the release or the operator, but for a tenant's own; Events tell of the past."""
    return {
        (kind, item["metadata"]["name"])
        for kind, path in _listable(stoker)
        for item in stoker.get(path)["items"]
        if _is_ours(item["metadata"])
    }


def _listable(stoker: Stoker) -> Iterator[tuple[str, str]]:
    groups = (group["preferredVersion"]["groupVersion"] for group in stoker.get("/apis")["groups"])
    for version in ("/api/v1", *(f"/apis/{group}" for group in groups)):
        for resource in stoker.get(version)["resources"]:
            if "list" in resource["verbs"] and resource["kind"] != "Event":
                yield resource["kind"], f"{version}/{resource['name']}"


def _is_ours(metadata: Object) -> bool:
    labelled = metadata.get("labels", {}).get("app.kubernetes.io/instance") == RELEASE
    return labelled or (metadata.get("namespace") == NAMESPACE and metadata["name"].startswith(f"{RELEASE}-"))

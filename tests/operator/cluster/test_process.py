"""Operator processes that come, go and die: what the next one finds, and how long nobody leads."""

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from hack.kube.control_plane import ControlPlane
from tests.hack.waiting import eventually
from tests.operator.cluster.cluster import Cluster, Json
from tests.operator.cluster.conftest import (
    OPERATOR_NAMESPACE,
    OperatorProcess,
    make_team,
    started_operator,
    started_plane,
)
from tests.operator.cluster.stage import child, deployment, make_model, make_pool, wait_reason

from stoker_operator.kube.paths import DEPLOYMENTS, MODELS, SECRETS, WORKLOADS

LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "stoker-operator", "namespace": OPERATOR_NAMESPACE},
}
HAND_OVER_S = 15


@pytest.fixture(scope="module")
def own_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Where no other operator acts."""
    with started_plane(tmp_path_factory.mktemp("own")) as made:
        yield made


@pytest.fixture
def own_cluster(own_plane: ControlPlane) -> Iterator[Cluster]:
    with Cluster(own_plane) as made:
        yield made


def secret(namespace: str, name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}


def holder(cluster: Cluster, name: str, timeout_s: float = 20) -> None:
    cluster.wait(LEASE, lambda found: found["spec"].get("holderIdentity") == name, timeout_s)


def versions(cluster: Cluster) -> dict[str, str]:
    """Of everything that an operator might write, but the Lease."""
    return {
        f"{collection.plural}/{one['metadata']['namespace'] if collection.namespaced else ''}/{one['metadata']['name']}": one[
            "metadata"
        ]["resourceVersion"]
        for collection in (DEPLOYMENTS, WORKLOADS, MODELS, SECRETS)
        for one in cluster.all_of(collection)
    }


def port(operator: OperatorProcess) -> int:
    found = re.search(r"http on port (\d+)", operator.log.read_text())
    assert found is not None
    return int(found[1])


def until_serving(operator: OperatorProcess) -> None:
    """A process is ready as soon as the API server has answered it, whoever leads."""
    deadline = time.monotonic() + 20
    while not ("http on port" in operator.log.read_text() and answers(operator, "/readyz")):
        assert operator.process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert answers(operator, "/healthz")


def answers(operator: OperatorProcess, path: str) -> bool:
    return httpx.get(f"http://127.0.0.1:{port(operator)}{path}", trust_env=False).status_code == 200


def metric(operator: OperatorProcess, name: str) -> float:
    """The sum of a metric's samples."""
    text = httpx.get(f"http://127.0.0.1:{port(operator)}/metrics", trust_env=False).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))


def test_a_restart_adopts_everything_without_a_write(
    own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path
) -> None:
    team, pool = make_team(own_cluster), make_pool(own_cluster, 64)
    manifests = []
    for name in ("one", "two", "three"):
        manifest = deployment(team, make_model(own_cluster, source={"uri": "s3://b/m"}), pool.accelerator)
        manifest["metadata"]["name"] = name
        manifest["spec"]["podPatch"] = {"resources": {"limits": {"cpu": "1500m", "memory": "1024Mi"}}}
        own_cluster.apply(manifest)
        manifests.append(manifest)
    with started_operator(own_plane, tmp_path, "first") as operator:
        for manifest in manifests:
            wait_reason(own_cluster, manifest, "Scheduling")
        own_cluster.wait(secret(OPERATOR_NAMESPACE, "stoker-gateway-tls"), bool)
        assert operator.stop() == 0
    before = versions(own_cluster)
    with started_operator(own_plane, tmp_path, "second") as operator:
        holder(own_cluster, "second")
        manifests[0]["spec"]["replicas"] = 2
        own_cluster.apply(manifests[0])
        own_cluster.wait(child(team, pool, "one"), lambda found: found["spec"]["replicas"] == 2)
        eventually(lambda: metric(operator, "stoker_operator_reconciles_total") >= 6, operator.log.read_text)
        assert operator.stop() == 0
    after = versions(own_cluster)
    changed = {key for key in before if after[key] != before[key]}
    assert changed == {f"deployments/{team}/one", f"deployments/{team}/one-{pool.name}"}
    assert after.keys() == before.keys()


def test_what_was_deleted_while_nobody_looked_is_cleaned_up(
    own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path
) -> None:
    team, pool = make_team(own_cluster), make_pool(own_cluster, 8)
    manifest = deployment(team, make_model(own_cluster), pool.accelerator)
    own_cluster.apply(manifest)
    with started_operator(own_plane, tmp_path, "first"):
        own_cluster.wait(child(team, pool), bool)
    own_cluster.delete(manifest)
    assert own_cluster.get(child(team, pool)) is not None
    with started_operator(own_plane, tmp_path, "second"):
        own_cluster.wait_gone(child(team, pool))


def test_a_standby_takes_over_at_once_from_one_that_stops(
    own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path
) -> None:
    with (
        started_operator(own_plane, tmp_path, "first") as first,
        started_operator(own_plane, tmp_path, "second") as second,
    ):
        leader, standby = (first, second) if _leads(own_cluster) == "first" else (second, first)
        until_serving(standby)
        assert metric(standby, "stoker_operator_leading") == 0
        began = time.monotonic()
        assert leader.stop() == 0
        team, pool = make_team(own_cluster), make_pool(own_cluster, 8)
        own_cluster.apply(deployment(team, make_model(own_cluster), pool.accelerator))
        own_cluster.wait(child(team, pool), bool, HAND_OVER_S)
        assert time.monotonic() - began < HAND_OVER_S


def test_a_standby_takes_over_from_one_that_dies(own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path) -> None:
    with started_operator(own_plane, tmp_path, "doomed") as doomed:
        holder(own_cluster, "doomed")
        with started_operator(own_plane, tmp_path, "heir"):
            began = time.monotonic()
            doomed.kill()
            team, pool = make_team(own_cluster), make_pool(own_cluster, 8)
            own_cluster.apply(deployment(team, make_model(own_cluster), pool.accelerator))
            own_cluster.wait(child(team, pool), bool, HAND_OVER_S)
            assert time.monotonic() - began < HAND_OVER_S


def test_who_loses_the_lease_ends(own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path) -> None:
    with started_operator(own_plane, tmp_path, "loser") as operator:
        holder(own_cluster, "loser")
        own_cluster.patch(LEASE, {"spec": {"holderIdentity": "usurper", "renewTime": "2100-01-01T00:00:00.000000Z"}})
        assert operator.process.wait(20) == 1
    own_cluster.delete(LEASE)


def test_certificates(own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path) -> None:
    team, pool = make_team(own_cluster), make_pool(own_cluster, 8)
    manifest = deployment(team, make_model(own_cluster), pool.accelerator)
    uid = own_cluster.apply(manifest)["metadata"]["uid"]
    with started_operator(own_plane, tmp_path, "first"):
        worker = own_cluster.wait(secret(team, "chat-worker-tls"), bool)
        gateway = own_cluster.wait(secret(OPERATOR_NAMESPACE, "stoker-gateway-tls"), bool)
        authority = own_cluster.wait(secret(OPERATOR_NAMESPACE, "stoker-pki"), bool)
        issuer = certificate(authority, "tls.crt")
        for found, name in ((worker, f"spiffe://stoker.dev/worker/{uid}"), (gateway, "spiffe://stoker.dev/gateway")):
            made = certificate(found, "tls.crt")
            made.verify_directly_issued_by(issuer)
            names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.UniformResourceIdentifier) == [name]
            assert certificate(found, "ca.crt") == issuer
        assert worker["metadata"]["ownerReferences"][0]["uid"] == uid
        # One that ends soon is issued anew, and so is one that another authority has signed.
        own_cluster.patch(worker, {"metadata": {"annotations": {"stoker.dev/not-after": "2020-01-01T00:00:00+00:00"}}})
    with started_operator(own_plane, tmp_path, "second"):
        renewed = own_cluster.wait(worker, lambda found: found["data"]["tls.crt"] != worker["data"]["tls.crt"])
        certificate(renewed, "tls.crt").verify_directly_issued_by(issuer)
    own_cluster.delete(authority)
    with started_operator(own_plane, tmp_path, "third"):
        own_cluster.wait(worker, lambda found: found["data"]["ca.crt"] != worker["data"]["ca.crt"])


def certificate(found: Json, key: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(found["data"][key]))


def test_no_secret_is_written_to_the_log(own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path) -> None:
    team, pool = make_team(own_cluster), make_pool(own_cluster, 8)
    keys = secret(team, "keys") | {"data": {"AWS_SECRET_ACCESS_KEY": base64.b64encode(b"canary-5f2b").decode()}}
    own_cluster.apply(keys)
    source = {"uri": "s3://bucket/m", "secretRef": {"name": "keys"}}
    manifest = deployment(team, make_model(own_cluster, source=source), pool.accelerator)
    own_cluster.apply(manifest)
    with started_operator(own_plane, tmp_path, "quiet") as operator:
        wait_reason(own_cluster, manifest, "Scheduling")
    log = operator.log.read_text()
    for word in ("canary", base64.b64encode(b"canary-5f2b").decode()[:10], "PRIVATE KEY", "BEGIN"):
        assert word not in log


def _leads(cluster: Cluster) -> str:
    """One of the two, not whoever held the Lease before them."""
    found = cluster.wait(LEASE, lambda lease: lease["spec"].get("holderIdentity") in ("first", "second"))
    return str(found["spec"]["holderIdentity"])


def test_who_cannot_renew_the_lease_ends_before_another_may_take_it(
    own_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path
) -> None:
    """The API server hangs with every connection kept open."""
    with started_operator(own_plane, tmp_path, "cut-off") as operator:
        holder(own_cluster, "cut-off")
        began = time.monotonic()
        own_plane.freeze_api_server()
        try:
            assert operator.process.wait(HAND_OVER_S) == 1
            assert time.monotonic() - began < 10
        finally:
            own_plane.thaw_api_server()
    own_cluster.delete(LEASE)

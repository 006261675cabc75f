"""The rights that an operator needs: with these and no others it does all its work, known by a token."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hack.kube.control_plane import ControlPlane
from tests.operator.cluster.cluster import Cluster, Json
from tests.operator.cluster.conftest import OPERATOR_NAMESPACE, make_team, started_operator, started_plane
from tests.operator.cluster.stage import Players, child, deployment, make_model, make_pool, wait_reason

from stoker_operator.kube.paths import EVENTS

ACCOUNT = "stoker-operator"
CLUSTER_RULES = [
    {
        "apiGroups": ["stoker.dev"],
        "resources": ["models", "gpupools", "deployments", "adapters"],
        "verbs": ["list", "watch"],
    },
    {
        "apiGroups": ["stoker.dev"],
        "resources": ["models/status", "gpupools/status", "deployments/status", "adapters/status"],
        "verbs": ["patch"],
    },
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch", "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["namespaces", "nodes", "pods"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]
OWN_RULES = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]


@pytest.fixture
def own_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    folder = tmp_path / "plane"
    folder.mkdir()
    with started_plane(folder) as made:
        yield made


def post(cluster: Cluster, path: str, manifest: Json) -> Json:
    answer = cluster.http.post(path, json=manifest).raise_for_status()
    decoded: Json = answer.json()
    return decoded


def kubeconfig_with_rights(cluster: Cluster, folder: Path) -> Path:
    """Of a service account that is bound to the rules, as the chart binds it."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    own = f"{rbac}/namespaces/{OPERATOR_NAMESPACE}"
    accounts = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts"
    name = {"metadata": {"name": ACCOUNT}}
    subjects = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": OPERATOR_NAMESPACE}]
    post(cluster, accounts, name)
    for path, kind, rules in ((rbac, "ClusterRole", CLUSTER_RULES), (own, "Role", OWN_RULES)):
        post(cluster, f"{path}/{kind.lower()}s", name | {"rules": rules})
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ACCOUNT}
        post(cluster, f"{path}/{kind.lower()}bindings", name | {"roleRef": role, "subjects": subjects})
    token = post(cluster, f"{accounts}/{ACCOUNT}/token", {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    (folder / "token").write_text(token)
    document = yaml.safe_load(cluster.plane.kubeconfig.read_text())
    context = next(one for one in document["contexts"] if one["name"] == document["current-context"])["context"]
    user = next(one for one in document["users"] if one["name"] == context["user"])
    user["user"] = {"tokenFile": str(folder / "token")}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_these_rights_are_enough(own_plane: ControlPlane, tmp_path: Path) -> None:
    with Cluster(own_plane) as cluster:
        kubeconfig = kubeconfig_with_rights(cluster, tmp_path)
        team, pool = make_team(cluster), make_pool(cluster, 8)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": team}}
        cluster.apply(secret)
        source = {"uri": "s3://bucket/m", "secretRef": {"name": "keys"}}
        manifest = deployment(team, make_model(cluster, source=source), pool.accelerator)
        cluster.apply(manifest)
        with started_operator(own_plane, tmp_path, "limited", kubeconfig=kubeconfig) as operator:
            wait_reason(cluster, manifest, "Scheduling")
            players = Players(cluster, team)
            pod = players.add(child(team, pool), pool.add_node(8))
            players.serve(pod)
            wait_reason(cluster, manifest, "AllReplicasReady")
            cluster.patch(child(team, pool), {"spec": {"template": {"spec": {"hostNetwork": True}}}})
            cluster.wait(child(team, pool), lambda found: "hostNetwork" not in found["spec"]["template"]["spec"])
            cluster.wait_list(EVENTS, team, bool)
            cluster.delete(manifest)
            cluster.wait_gone(child(team, pool))
        log = operator.log.read_text()
        assert "forbidden" not in log
        assert "403" not in log

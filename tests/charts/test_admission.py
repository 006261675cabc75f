"""What the API server lets the release's service accounts do, and what it keeps them from."""

from collections.abc import Iterator
from typing import Any

import pytest
from hack.chart import NAMESPACE, Object, template
from tests.charts.chart import Api, applied, one
from tests.charts.conftest import until
from tests.operator.cluster.test_rights import CLUSTER_RULES, OWN_RULES

GATEWAY = f"system:serviceaccount:{NAMESPACE}:stoker-gateway"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:stoker-operator"
RIGHTS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
MANAGED = {"app.kubernetes.io/managed-by": "stoker-operator"}


def deployment(name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "tenant"},
        "spec": {"model": "m", "accelerator": {"type": "CPU"}, **spec},
    }


def secret(name: str, labels: dict[str, str], kind: str = "kubernetes.io/tls", namespace: str = "tenant") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": {"tls.crt": "", "tls.key": ""},
    }


def replicas(count: int) -> Object:
    return {"spec": {"replicas": count}}


@pytest.fixture(scope="module")
def release(api: Api) -> Iterator[Api]:
    """Rights and policies in force: the policies are, as soon as each has refused something."""
    applied(api, *(item for item in template() if item["kind"] in (*RIGHTS, *POLICIES)))
    applied(api, deployment("probe", replicas=5))
    gateway, operator = api.impersonating(GATEWAY), api.impersonating(OPERATOR)
    until(lambda: gateway.patch(deployment("probe"), replicas(6), "scale", dry_run=True).status_code == 422)
    until(lambda: operator.apply(secret("probe", {}), dry_run=True).status_code == 422)
    return api


@pytest.mark.parametrize(
    ("before", "after", "status", "said"),
    [
        pytest.param(0, 1, 200, "", id="wakes one replica"),
        pytest.param(None, 1, 200, "", id="wakes one of a deployment that never had any"),
        pytest.param(1, 1, 200, "", id="says what is so already"),
        pytest.param(0, 2, 422, "not from 0 to 2", id="may not wake two"),
        pytest.param(1, 5, 422, "not from 1 to 5", id="may not scale up"),
        pytest.param(1, 0, 422, "not from 1 to 0", id="may not scale down"),
        pytest.param(5, 1, 422, "not from 5 to 1", id="may not shrink to one"),
    ],
)
def test_a_gateway(release: Api, before: int | None, after: int, status: int, said: str) -> None:
    spec = {"autoscaling": {"max": 8}} if before is None else {"replicas": before}
    item = deployment(f"scaled-{before}-{after}".lower(), **spec)
    applied(release, item)
    answer = release.impersonating(GATEWAY).patch(item, replicas(after), "scale")
    assert answer.status_code == status, answer.text
    assert said in answer.text


def test_others_scale_as_they_like(release: Api) -> None:
    item = deployment("free", replicas=1)
    applied(release, item)
    assert release.patch(item, replicas(5), "scale").status_code == 200


def test_a_gateway_writes_nothing_else_even_with_the_right_to(release: Api) -> None:
    """The policy stands where somebody has given gateways more than the chart does."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "too-much"},
        "rules": [{"apiGroups": ["stoker.dev"], "resources": ["*"], "verbs": ["*"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "too-much"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "too-much"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": GATEWAY}],
    }
    item = deployment("whole", replicas=0)
    applied(release, item, role, binding)
    try:
        gateway = release.impersonating(GATEWAY)
        until(lambda: gateway.patch(item, {"spec": {"replicas": 1}}).status_code != 403)
        answer = gateway.patch(item, {"spec": {"replicas": 1}})
        assert answer.status_code == 422
        assert "nothing of a Deployment but its scale" in answer.text
    finally:
        release.delete(binding)
        release.delete(role)


@pytest.mark.parametrize(
    ("made", "status"),
    [
        pytest.param(secret("chat-worker-tls", MANAGED), 201, id="a certificate of its own"),
        pytest.param(secret("unlabelled", {}), 422, id="a certificate that would not be known as its own"),
        pytest.param(secret("password", MANAGED, "Opaque"), 422, id="a Secret that is no certificate"),
    ],
)
def test_the_operator_makes(release: Api, made: Object, status: int) -> None:
    answer = release.impersonating(OPERATOR).create(made)
    assert answer.status_code == status, answer.text
    release.delete(made)


def test_the_operator_renews_its_certificates_and_leaves_others_alone(release: Api) -> None:
    own, other = secret("own", MANAGED), secret("other", {"app.kubernetes.io/managed-by": "cert-manager"})
    applied(release, own, other)
    operator = release.impersonating(OPERATOR)
    assert operator.patch(own, {"data": {"tls.crt": "eA=="}}).status_code == 200
    assert operator.patch(other, {"data": {"tls.crt": "eA=="}}).status_code == 422
    stolen = {"metadata": {"labels": MANAGED}, "data": {"tls.crt": "eA=="}}
    assert operator.patch(other, stolen).status_code == 422


CAN: list[tuple[str, str, str, str, bool]] = [
    (OPERATOR, "get", "", "secrets", True),
    (OPERATOR, "list", "", "secrets", False),
    (OPERATOR, "delete", "", "secrets", False),
    (OPERATOR, "patch", "apps", "deployments", True),
    (OPERATOR, "delete", "", "pods", False),
    (OPERATOR, "create", "", "pods", False),
    (OPERATOR, "patch", "stoker.dev", "deployments", False),
    (OPERATOR, "update", "rbac.authorization.k8s.io", "clusterroles", False),
    (OPERATOR, "patch", "apiextensions.k8s.io", "customresourcedefinitions", False),
    (GATEWAY, "watch", "stoker.dev", "deployments", True),
    (GATEWAY, "patch", "stoker.dev", "deployments", False),
    (GATEWAY, "get", "", "secrets", False),
    (GATEWAY, "list", "", "nodes", False),
    (GATEWAY, "create", "", "pods", False),
    ("system:serviceaccount:tenant:default", "get", "stoker.dev", "models", False),
]


@pytest.mark.parametrize(("user", "verb", "group", "resource", "allowed"), CAN)
def test_rights_end_where_the_code_ends(
    release: Api, user: str, verb: str, group: str, resource: str, allowed: bool
) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": "tenant"},
        },
    }
    answer = release.client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    assert answer.json()["status"]["allowed"] is allowed


def test_the_operator_has_the_rights_that_its_own_tests_prove_and_one_more() -> None:
    rendered = template()
    given = grants(one(rendered, "ClusterRole", "stoker-operator")["rules"])
    assert given - grants(CLUSTER_RULES) == {("stoker.dev", "deployments/finalizers", "update")}
    assert grants(CLUSTER_RULES) <= given
    assert grants(one(rendered, "Role", "stoker-operator")["rules"]) == grants(OWN_RULES)


def grants(rules: list[Object]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

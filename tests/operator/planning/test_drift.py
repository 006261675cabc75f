"""Whether an object is as planned, read from field owners as a real API server writes them."""

import copy
from typing import Any

import pytest

from stoker_operator.planning.drift import Drift, drift, last_applied

ME = "stoker-operator"
MANIFEST: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "chat",
        "namespace": "team",
        "labels": {"a": "1"},
        "ownerReferences": [{"uid": "u", "name": "x"}],
    },
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "nodeSelector": {"pool": "p"},
                "containers": [
                    {
                        "name": "worker",
                        "args": ["serve", "--x=1"],
                        "env": [{"name": "A", "value": "b"}],
                        "ports": [{"name": "wire", "containerPort": 8443}],
                        "resources": {"limits": {"cpu": "1500m", "memory": "1024Mi"}},
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}
CONTAINER = {
    ".": {},
    "f:name": {},
    "f:args": {},
    "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
    "f:ports": {'k:{"containerPort":8443,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:name": {}}},
    "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
}
OURS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}, "f:ownerReferences": {'k:{"uid":"u"}': {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:nodeSelector": {},
                "f:containers": {'k:{"name":"worker"}': CONTAINER},
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:emptyDir": {}, "f:name": {}}},
            }
        },
    },
}


def entry(manager: str, fields: dict[str, Any], operation: str = "Update", **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields} | more


def live(*others: dict[str, Any], ours: dict[str, Any] = OURS) -> dict[str, Any]:
    """As the API server keeps it: with its defaults, and quantities in its own way of writing."""
    made = copy.deepcopy(MANIFEST)
    made["metadata"] |= {"uid": "1", "managedFields": [entry(ME, copy.deepcopy(ours), "Apply"), *others]}
    pod = made["spec"]["template"]["spec"]
    pod["restartPolicy"] = "Always"
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["containers"][0]["resources"]["limits"] = {"cpu": "1500m", "memory": "1Gi"}
    return made


def at(value: dict[str, Any], *path: str | int) -> Any:
    for part in path:
        value = value[part]  # type: ignore[index]
    return value


def without(path: tuple[str, ...]) -> dict[str, Any]:
    fields = copy.deepcopy(OURS)
    del at(fields, *path[:-1])[path[-1]]
    return fields


def test_what_is_as_planned_is_not_written() -> None:
    assert not drift(MANIFEST, live(), ME, ("spec",))


def test_what_was_never_applied_is() -> None:
    found = live()
    found["metadata"]["managedFields"] = []
    assert drift(MANIFEST, found, ME, ("spec",)) == Drift(apply=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("spec", "replicas"), 3, id="a number"),
        pytest.param(("metadata", "labels"), {"a": "2"}, id="a label"),
        pytest.param(("metadata", "labels"), {"a": "1", "b": "2"}, id="a further label"),
        pytest.param(("spec", "template", "spec", "nodeSelector"), {"pool": "q"}, id="a map that is one value"),
        pytest.param(("spec", "template", "spec", "containers", 0, "args"), ["serve"], id="fewer arguments"),
        pytest.param(("spec", "template", "spec", "containers", 0, "env"), [], id="a variable less"),
        pytest.param(("spec", "template", "spec", "volumes", 0, "name"), "temp", id="another name"),
        pytest.param(
            ("spec", "template", "spec", "containers", 0, "resources", "limits", "memory"), "2Gi", id="a quantity"
        ),
    ],
)
def test_a_changed_plan_is_applied(path: tuple[str | int, ...], value: object) -> None:
    changed = copy.deepcopy(MANIFEST)
    at(changed, *path[:-1])[path[-1]] = value
    assert drift(changed, live(), ME, ("spec",)).apply


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(("f:spec", "f:replicas"), id="taken over"),
        pytest.param(("f:metadata", "f:labels"), id="its only label removed"),
        pytest.param(("f:spec", "f:template", "f:spec", "f:containers"), id="containers of others"),
    ],
)
def test_a_field_that_is_ours_no_more_is_applied_again(path: tuple[str, ...]) -> None:
    assert drift(MANIFEST, live(ours=without(path)), ME, ("spec",)).apply


def test_what_others_add_to_the_plan_is_a_stray() -> None:
    env = {'k:{"name":"A"}': {"f:value": {}}, 'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}
    fields = {
        "f:metadata": {"f:annotations": {"f:note": {}}},
        "f:spec": {
            "f:paused": {},
            "f:template": {
                "f:metadata": {"f:annotations": {"f:x/y": {}}},
                "f:spec": {
                    "f:containers": {'k:{"name":"worker"}': {"f:env": env}, 'k:{"name":"spy"}': {".": {}, "f:name": {}}}
                },
            },
        },
    }
    found = live(entry("kubectl-edit", fields))
    found["spec"]["paused"] = True
    found["spec"]["template"]["metadata"] = {"annotations": {"x/y": "1"}}
    found["spec"]["template"]["spec"]["containers"].append({"name": "spy"})
    found["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "B", "value": "c"})
    assert drift(MANIFEST, found, ME, ("spec",)) == Drift(
        apply=False,
        strays=(
            "/spec/template/spec/containers/1",
            "/spec/template/spec/containers/0/env/1",
            "/spec/template/metadata",
            "/spec/paused",
        ),
    )
    assert not drift(MANIFEST, found, ME)


def test_a_controllers_status_is_no_stray() -> None:
    status = entry("kube-controller-manager", {"f:spec": {"f:paused": {}}}, subresource="status")
    revision = entry("kube-controller-manager", {"f:metadata": {"f:annotations": {"f:revision": {}}}})
    assert not drift(MANIFEST, live(status, revision), ME, ("spec",))


def test_the_last_plan_can_be_read_back() -> None:
    found = live()
    found["spec"]["template"]["spec"]["containers"].insert(0, {"name": "spy"})
    made = last_applied(found, ME)
    assert made is not None
    made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1024Mi"
    assert made == MANIFEST
    assert last_applied({"metadata": {}}, ME) is None

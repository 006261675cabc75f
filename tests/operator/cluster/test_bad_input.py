"""Configurations that cannot work name what is wrong, apply nothing, and heal by themselves as soon as the cause is gone."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.operator.cluster.cluster import Cluster, Json, condition
from tests.operator.cluster.stage import (
    Pool,
    deployment,
    make_model,
    make_pool,
    model,
    unique,
    wait_reason,
    workloads,
)

from stoker_operator.kube.paths import WORKLOADS

pytestmark = pytest.mark.usefixtures("operator")


@dataclass
class Scene:
    """A deployment that cannot work, and what mends it."""

    manifest: Json
    mend: Callable[[], object]


@dataclass
class Stage:
    """What a scene is set on."""

    cluster: Cluster
    team: str
    pool: Pool

    def deployment(self, model_: str, **spec: object) -> Json:
        return deployment(self.team, model_, self.pool.accelerator, **spec)  # type: ignore[arg-type]

    def adapter(self, name: str, base: str) -> Json:
        spec = {"id": f"accounts/acme/models/{name}", "base": base, "source": {"uri": "s3://bucket/x"}}
        metadata = {"name": name, "namespace": self.team}
        return {"apiVersion": "stoker.dev/v1alpha1", "kind": "Adapter", "metadata": metadata, "spec": spec}


def no_model(stage: Stage) -> Scene:
    name = unique("late")
    return Scene(stage.deployment(name), lambda: stage.cluster.apply(model(name)))


def anothers_private_model(stage: Stage) -> Scene:
    name = unique("theirs")
    theirs = {"id": f"accounts/other/models/{name}", "account": "other"}
    stage.cluster.apply(model(name, **theirs))
    return Scene(stage.deployment(name), lambda: stage.cluster.apply(model(name, **theirs, visibility="Public")))


def no_such_accelerator(stage: Stage) -> Scene:
    type_ = unique("NEW")
    manifest = deployment(stage.team, make_model(stage.cluster), type_)
    return Scene(manifest, lambda: make_pool(stage.cluster, 8, accelerator=type_))


def no_pool_in_region(stage: Stage) -> Scene:
    manifest = stage.deployment(make_model(stage.cluster), regions=["us-east-1", "mars"])
    return Scene(manifest, lambda: make_pool(stage.cluster, 8, region="mars", accelerator=stage.pool.accelerator))


def larger_than_any_node(stage: Stage) -> Scene:
    manifest = stage.deployment(make_model(stage.cluster), count=16)
    return Scene(manifest, lambda: stage.pool.add_node(16))


def no_secret(stage: Stage) -> Scene:
    source = {"uri": "s3://bucket/m", "secretRef": {"name": "keys"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": stage.team}}
    return Scene(stage.deployment(make_model(stage.cluster, source=source)), lambda: stage.cluster.apply(secret))


def no_adapter(stage: Stage) -> Scene:
    base = make_model(stage.cluster)
    manifest = stage.deployment(base, tier="FineTuned", adapters=["tone"])
    return Scene(manifest, lambda: stage.cluster.apply(stage.adapter("tone", base)))


def adapter_of_another_base(stage: Stage) -> Scene:
    base = make_model(stage.cluster)
    wrong = stage.adapter("tone", make_model(stage.cluster))
    stage.cluster.apply(wrong)

    def mend() -> None:
        stage.cluster.delete(wrong)
        stage.cluster.apply(stage.adapter("tone", base))

    return Scene(stage.deployment(base, tier="FineTuned", adapters=["tone"]), mend)


def namespace_without_account(stage: Stage) -> Scene:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": stage.team}}
    stage.cluster.patch(namespace, {"metadata": {"labels": {"stoker.dev/account": None}}})
    labelled = {"metadata": {"labels": {"stoker.dev/account": "acme"}}}
    return Scene(stage.deployment(make_model(stage.cluster)), lambda: stage.cluster.patch(namespace, labelled))


SCENES = [
    pytest.param(no_model, "ModelNotFound", "there is no Model", id="a model that does not exist"),
    pytest.param(anothers_private_model, "ModelNotFound", "that account acme may use", id="another's private model"),
    pytest.param(no_such_accelerator, "NoSuchAccelerator", "no GPUPool has", id="a pool that does not exist"),
    pytest.param(no_pool_in_region, "NoPoolInRegion", "in mars", id="a region without a pool"),
    pytest.param(larger_than_any_node, "ReplicaLargerThanNode", "lower accelerator.count", id="more than any node has"),
    pytest.param(no_secret, "SecretNotFound", "Secret keys", id="a secret that does not exist"),
    pytest.param(no_adapter, "AdapterNotFound", "no Adapter tone", id="an adapter that does not exist"),
    pytest.param(adapter_of_another_base, "AdapterOfOtherBase", "was trained from", id="an adapter of another base"),
    pytest.param(namespace_without_account, "NoAccount", "stoker.dev/account", id="a namespace without an account"),
]


@pytest.mark.parametrize(("scene", "reason", "says"), SCENES)
def test_bad_input_is_named_and_heals(
    cluster: Cluster, team: str, scene: Callable[[Stage], Scene], reason: str, says: str
) -> None:
    made = scene(Stage(cluster, team, make_pool(cluster, 8)))
    cluster.apply(made.manifest)
    found = wait_reason(cluster, made.manifest, reason)
    assert condition(found, "ConfigResolved")["status"] == "False"
    assert says in condition(found, "Ready")["message"]
    assert not workloads(cluster, team)
    made.mend()
    wait_reason(cluster, made.manifest, "Scheduling")
    assert workloads(cluster, team)


def test_of_two_models_with_one_alias_the_older_keeps_it(cluster: Cluster) -> None:
    alias = unique("alias")
    first, second = (model(unique("m"), aliases=[alias]) for _ in range(2))
    cluster.apply(first)
    wait_reason(cluster, first, "Accepted")
    cluster.apply(second)
    # Created in the same second, the name decides, which sorts as the numbers do.
    found = wait_reason(cluster, second, "AliasTaken")
    assert alias in condition(found, "Ready")["message"]
    cluster.delete(first)
    wait_reason(cluster, second, "Accepted")


def test_what_serves_goes_on_when_its_model_goes(cluster: Cluster, team: str) -> None:
    """A bad change of something else must not take capacity away."""
    pool = make_pool(cluster, 8)
    name = make_model(cluster)
    manifest = deployment(team, name, pool.accelerator)
    cluster.apply(manifest)
    wait_reason(cluster, manifest, "Scheduling")
    before = workloads(cluster, team)
    cluster.delete(model(name))
    wait_reason(cluster, manifest, "ModelNotFound")
    assert workloads(cluster, team) == before
    cluster.patch(manifest, {"spec": {"replicas": 0}}, "scale")
    cluster.wait_list(WORKLOADS, team, lambda found: not found)

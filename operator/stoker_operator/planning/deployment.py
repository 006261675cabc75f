"""Everything about one Deployment at once: from what is observed to what is applied, deleted and reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stoker_core import labels
from stoker_operator.api.deployment import DeploymentSpec, DeploymentStatus
from stoker_operator.api.deployment import Placement as PlacementStatus
from stoker_operator.api.gpu_pool import GPUPoolSpec
from stoker_operator.planning import placement as places
from stoker_operator.planning.drift import last_applied
from stoker_operator.planning.ladder import Observed, Rung, ladder
from stoker_operator.planning.placement import Placement, Pool, Unplaceable, Wanted
from stoker_operator.planning.pod import Manifest, Platform, WorkerPod
from stoker_operator.planning.pods import Sign
from stoker_operator.planning.replica import Replica, Stage, Trouble
from stoker_operator.planning.resolve import Catalogue, Resolved, Unresolved, resolve
from stoker_operator.planning.rollout import PoolState, Rollout, Step, retained, roll
from stoker_operator.planning.workload import Owner, child_name, plan_digest, workload


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A pool as the deployment may use it: what others have been promised is not free."""

    spec: GPUPoolSpec
    pool: Pool


@dataclass(frozen=True, slots=True)
class Child:
    """A workload of the deployment. `live` is the object as the API server has it."""

    name: str
    pool: str
    plan: str
    replicas: int
    live: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A worker pod. `on_node`: it takes up accelerators there."""

    name: str
    pool: str
    plan: str
    on_node: bool
    sign: Sign


@dataclass(frozen=True, slots=True)
class World:
    """All that a decision about one Deployment may depend on.

    children  by pool
    taken     names of workloads of its namespace that are not the deployment's
    """

    owner: Owner
    spec: DeploymentSpec
    catalogue: Catalogue
    platform: Platform
    pools: Mapping[str, PoolFacts] = field(default_factory=dict)
    children: Mapping[str, Child] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    pods: Sequence[PodFacts] = ()

    @property
    def desired(self) -> int:
        """Replicas over all pools."""
        if self.spec.replicas is not None:
            return self.spec.replicas
        return self.spec.autoscaling.min if self.spec.autoscaling else 0

    def serving(self, pool: str) -> int:
        """Replicas that answer there, whatever they run."""
        return sum(pod.pool == pool and pod.sign.stage is Stage.ROUTABLE for pod in self.pods)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order, and what to report.

    apply      workloads; the fields they name are ours alone
    delete     workloads that nobody needs any more
    wants_room it waits for accelerators: look again when some become free
    """

    rungs: Sequence[Rung]
    status: DeploymentStatus
    apply: Sequence[Manifest] = ()
    delete: Sequence[Child] = ()
    wants_room: bool = False
    why: Sequence[str] = ()


def plan(world: World) -> Plan:
    """Decide everything about a Deployment. Where its configuration cannot be used, what runs is left as it is."""
    try:
        resolved = resolve(world.spec, world.catalogue)
        wanted = _wanted(world)
        placement = places.place(wanted, [facts.pool for facts in world.pools.values()], _held(world))
        _check(world, placement)
    except (Unresolved, Unplaceable) as problem:
        return _blocked(world, problem.reason, str(problem))
    return _planned(world, resolved, wanted, placement)


def _wanted(world: World) -> Wanted:
    accelerator = world.spec.accelerator
    return Wanted(world.desired, accelerator.type, accelerator.count, world.spec.regions)


def _held(world: World) -> dict[str, int]:
    """Replicas that have their accelerators: those stay where they are."""
    on_nodes = dict.fromkeys(world.children, 0)
    for pod in world.pods:
        if pod.on_node and pod.pool in on_nodes:
            on_nodes[pod.pool] += 1
    return {pool: min(count, world.children[pool].replicas) for pool, count in on_nodes.items()}


def _check(world: World, placement: Placement) -> None:
    """Raises Unresolved where a child cannot be made."""
    for pool in placement.replicas:
        name = child_name(world.owner.identity.name, pool)
        if name in world.taken:
            raise Unresolved(
                "NameTaken",
                f"apps/Deployment {name} exists and is not this deployment's: delete or rename it, it is not touched",
            )
        if not world.platform.image(world.pools[pool].spec):
            raise Unresolved(
                "NoWorkerImage", f"the operator has no worker image for pool {pool}: it needs a --worker-image for it"
            )


def _blocked(world: World, reason: str, message: str) -> Plan:
    """Nothing is applied but an end: who wants no replicas gets none."""
    replicas = [_replica(pod, "") for pod in world.pods]
    observed = Observed(world.desired, replicas, problem=(reason, message))
    delete = list(world.children.values()) if world.desired == 0 else []
    rows = {} if delete else {pool: child.replicas for pool, child in world.children.items()}
    return Plan(
        ladder(observed), _status(world, observed, rows), delete=delete, wants_room=True, why=[f"{reason}: {message}"]
    )


def _planned(world: World, resolved: Resolved, wanted: Wanted, placement: Placement) -> Plan:
    current = {pool: child.replicas for pool, child in world.children.items()}
    serving = {pool: world.serving(pool) for pool in world.children}
    running = retained(placement.replicas, current, serving, world.desired)
    pods = {
        pool: WorkerPod(world.owner.identity, world.spec, resolved, pool, world.pools[pool].spec, world.platform)
        for pool in placement.replicas
    }
    rollouts = {pool: _rollout(world, pods[pool], placement) for pool in pods}
    apply = [_child(world, pods[pool], running[pool], rollouts[pool]) for pool in pods]
    apply += [_held_child(world.children[pool], count) for pool, count in running.items() if pool not in pods and count]
    shortage = "; ".join(
        filter(None, [places.shortage(wanted, _pools(world), placement), *(r.shortage for r in rollouts.values())])
    )
    plans = {pool: plan_digest(pod.template()) for pool, pod in pods.items()}
    observed = Observed(world.desired, [_replica(pod, plans.get(pod.pool, "")) for pod in world.pods], None, shortage)
    return Plan(
        ladder(observed),
        _status(world, observed, {pool: count for pool, count in running.items() if count}),
        apply=[manifest for manifest in apply if manifest],
        delete=[child for pool, child in world.children.items() if not running.get(pool)],
        wants_room=bool(shortage),
        why=[*_reasons(world, placement), *filter(None, [shortage])],
    )


def _pools(world: World) -> list[Pool]:
    return [facts.pool for facts in world.pools.values()]


def _rollout(world: World, pod: WorkerPod, placement: Placement) -> Rollout:
    child = world.children.get(pod.pool_name)
    here = [one for one in world.pods if one.pool == pod.pool_name and one.sign.stage is not Stage.LEAVING]
    count = world.spec.accelerator.count
    state = PoolState(
        changed=child is not None and child.plan != plan_digest(pod.template()),
        serving=world.serving(pod.pool_name),
        room=world.pools[pod.pool_name].pool.room(count) - placement.granted.get(pod.pool_name, 0),
        rolling=len({one.plan for one in here}) > 1,
        broken=sum(one.sign.trouble not in (None, Trouble.UNSCHEDULABLE) for one in here),
    )
    return roll(state, world.spec.rollout.when_full, f"{count} × {pod.pool.accelerator}")


def _child(world: World, pod: WorkerPod, replicas: int, rollout: Rollout) -> Manifest | None:
    child = world.children.get(pod.pool_name)
    if rollout.step is Step.HOLD and child is not None:
        return _held_child(child, replicas)
    return workload(world.owner, pod, replicas, rollout.surge)


def _held_child(child: Child, replicas: int) -> Manifest | None:
    """The child as it was applied, with another number of replicas; None if it was never applied by us."""
    manifest = last_applied(child.live, labels.MANAGER)
    if manifest is None or "spec" not in manifest:
        return None
    return {**manifest, "spec": {**manifest["spec"], "replicas": replicas}}


def _replica(pod: PodFacts, plan_: str) -> Replica:
    return Replica(
        pod.name, pod.pool, bool(plan_) and pod.plan == plan_, pod.sign.stage, pod.sign.trouble, pod.sign.detail
    )


def _status(world: World, observed: Observed, rows: Mapping[str, int]) -> DeploymentStatus:
    """Without conditions and generation, which have a history."""
    present = [replica for replica in observed.replicas if replica.stage is not Stage.LEAVING]
    return DeploymentStatus(
        replicas=len(present),
        updated_replicas=len(observed.updated),
        ready_replicas=observed.ready,
        selector=f"{labels.DEPLOYMENT_UID}={world.owner.identity.uid}",
        placements=tuple(
            PlacementStatus(
                region=world.pools[pool].spec.region if pool in world.pools else "",
                pool=pool,
                replicas=count,
                updated=sum(one.pool == pool for one in observed.updated),
                ready=sum(one.pool == pool and one.has_reached(Stage.ROUTABLE) for one in observed.updated),
            )
            for pool, count in sorted(rows.items())
        ),
    )


def _reasons(world: World, placement: Placement) -> list[str]:
    return [
        f"{count} on pool {pool} in {world.pools[pool].spec.region}"
        for pool, count in sorted(placement.replicas.items())
    ]

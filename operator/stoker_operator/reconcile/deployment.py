"""Deployments: observe, plan, apply, report. Whatever happened, it is this that runs."""

import msgspec

from stoker_core.identity import worker as worker_identity
from stoker_operator.api.deployment import DeploymentStatus
from stoker_operator.cluster.keys import ROOM, Key, Topic, workload_topic
from stoker_operator.cluster.records import Custom, Workload
from stoker_operator.kube.paths import DEPLOYMENTS
from stoker_operator.pki.decision import Step
from stoker_operator.pki.store import Holder
from stoker_operator.planning.deployment import Plan, World, plan
from stoker_operator.planning.ladder import Observed, Rung, ladder
from stoker_operator.planning.pod import tls_secret
from stoker_operator.planning.replica import Stage
from stoker_operator.planning.workload import child_name
from stoker_operator.reconcile.children import apply_children, delete_children
from stoker_operator.reconcile.context import Context
from stoker_operator.reconcile.observe import own_children, secrets_named, world_of
from stoker_operator.reconcile.report import report
from stoker_operator.reconcile.rungs import time_rungs

SECRET_RETRY_S = 3.0  # nobody tells of Secrets: a missing one is asked for again after so long
CERTIFICATE_AGE_S = 300.0
CERTIFICATE_AGE_WHILE_STARTING_S = 3.0  # a pod that does not start may lack its certificate


async def reconcile(context: Context, key: Key) -> float | None:
    """Make one Deployment so; returns in how many seconds to look again, or None. Raises KubeError."""
    record = context.cache.custom(DEPLOYMENTS, key.namespace, key.name)
    await _delete_orphans(context, key, record)
    if record is None or record.deleting:
        context.waiting.wait(key, ())
        return None
    if record.spec is None:
        await _unreadable(context, record)
        return None
    named = secrets_named(context.cache, key.namespace, record.spec)
    secrets = await context.presence.present(key.namespace, named)
    world = world_of(context.cache, record, context.platform, secrets, context.downloads.sentences)
    planned = plan(world)
    _promise(context, world, planned)
    context.waiting.wait(key, _topics(world, planned))
    refused = await _certify(context, world, planned)
    if refused is None:
        await _act(context, record, planned)
    demand = context.demand.shown(record.ref.uid, record.status.get("demand"), context.now().timestamp())
    status = msgspec.structs.replace(planned.status, demand=demand)
    made = await report(context, DEPLOYMENTS, record, status, refused or list(planned.rungs))
    time_rungs(context.metrics, context.inbox.spell(record.ref.uid), made)
    return SECRET_RETRY_S if refused or named - secrets else None


async def _certify(context: Context, world: World, planned: Plan) -> list[Rung] | None:
    """See to the workers' certificate, without which no pod starts; the rungs of a refusal if another's Secret is in its place."""
    if not planned.apply:
        return None
    holder = _holder(world)
    is_new = not world.children and not world.pods
    if await context.certificates.ensure(holder, _certificate_age_s(world), is_new=is_new) is not Step.REFUSE:
        return None
    message = f"Secret {holder.secret} exists and is not the operator's: delete or rename it, it is not touched"
    return ladder(Observed(world.desired, problem=("NameTaken", message)))


async def _act(context: Context, record: Custom, planned: Plan) -> None:
    children = {child.ref.name: child for child in own_children(context.cache, record)}
    await apply_children(context, planned.apply, children)
    await delete_children(context, [children[child.name] for child in planned.delete])


def _promise(context: Context, world: World, planned: Plan) -> None:
    """Before anything is awaited, so that reconciles beside this one do not place others on the same accelerators."""
    uid, count = world.owner.identity.uid, world.spec.accelerator.count
    rows = {row.pool: row.replicas for row in planned.status.placements}
    for pool in rows.keys() | world.children.keys():
        context.cache.usage.promise(uid, pool, count, rows.get(pool, 0))


def _topics(world: World, planned: Plan) -> list[Topic]:
    identity = world.owner.identity
    names = [child_name(identity.name, pool) for pool in world.pools]
    in_the_way = [workload_topic(identity.namespace, name) for name in names if name in world.taken]
    return [*in_the_way, *([ROOM] if planned.wants_room else [])]


def _holder(world: World) -> Holder:
    identity = world.owner.identity
    return Holder(
        identity.namespace,
        tls_secret(identity),
        worker_identity(identity.uid),
        server=True,
        owner=world.owner.reference(),
    )


def _certificate_age_s(world: World) -> float:
    starting = any(pod.sign.stage in (Stage.FETCHING, Stage.STARTING) for pod in world.pods)
    return CERTIFICATE_AGE_WHILE_STARTING_S if starting else CERTIFICATE_AGE_S


async def _unreadable(context: Context, record: Custom) -> None:
    observed = Observed(0, problem=("SpecInvalid", record.problem))
    await report(context, DEPLOYMENTS, record, DeploymentStatus(), ladder(observed))


async def _delete_orphans(context: Context, key: Key, record: Custom | None) -> None:
    """Children of a Deployment that is gone, as long as the cluster's own collector has not come by."""
    orphans: list[Workload] = [
        child
        for child in context.cache.workloads_of(key.namespace, key.name)
        if child.owner and (record is None or child.owner.uid != record.ref.uid)
    ]
    await delete_children(context, orphans)

"""Models, Adapters and GPUPools: nothing is applied for them, their status tells what was found."""

from stoker_operator.api.adapter import AdapterStatus
from stoker_operator.api.conditions import ConditionStatus, Status
from stoker_operator.api.model import ModelStatus
from stoker_operator.cluster.keys import Key
from stoker_operator.cluster.records import Custom
from stoker_operator.kube.paths import ADAPTERS, GPU_POOLS, MODELS
from stoker_operator.planning.ladder import READY, Rung
from stoker_operator.planning.others import adapter_rungs, model_rungs, pool_rungs, pool_status
from stoker_operator.reconcile.context import Context
from stoker_operator.reconcile.observe import models
from stoker_operator.reconcile.report import report


async def reconcile_model(context: Context, key: Key) -> None:
    """Report what was found of a Model. Raises KubeError."""
    record = context.cache.custom(MODELS, "", key.name)
    if record is None:
        return
    known = models(context.cache)
    rungs = model_rungs(known[key.name], list(known.values())) if record.spec else _unreadable(record)
    await report(context, MODELS, record, ModelStatus(), rungs)


async def reconcile_adapter(context: Context, key: Key) -> None:
    """Report what was found of an Adapter. Raises KubeError."""
    record = context.cache.custom(ADAPTERS, key.namespace, key.name)
    if record is None:
        return
    rungs = adapter_rungs(record.spec, frozenset(models(context.cache))) if record.spec else _unreadable(record)
    await report(context, ADAPTERS, record, AdapterStatus(), rungs)


async def reconcile_pool(context: Context, key: Key) -> None:
    """Report what a GPUPool has. Raises KubeError."""
    record = context.cache.custom(GPU_POOLS, "", key.name)
    if record is None:
        return
    if record.spec is None:
        await report(context, GPU_POOLS, record, Status(), _unreadable(record))
        return
    pool = context.cache.pool(record)
    users = {child.owner.uid for child in context.cache.owned_workloads() if child.owner and child.pool == key.name}
    await report(context, GPU_POOLS, record, pool_status(pool, len(users)), pool_rungs(pool))


def _unreadable(record: Custom) -> list[Rung]:
    return [Rung(READY, ConditionStatus.FALSE, "SpecInvalid", record.problem)]

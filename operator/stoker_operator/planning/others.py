"""Status of Models, Adapters and GPUPools: what was found of them, without which Deployments cannot use them."""

from collections.abc import Sequence

from stoker_operator.api.adapter import AdapterSpec
from stoker_operator.api.conditions import ConditionStatus
from stoker_operator.api.gpu_pool import GPUPoolStatus
from stoker_operator.planning.ladder import READY, Rung
from stoker_operator.planning.placement import Pool
from stoker_operator.planning.resolve import Named, own_aliases


def model_rungs(model: Named, models: Sequence[Named]) -> list[Rung]:
    """Ready, unless an older Model has its id; aliases that older ones have are named."""
    same_id = [other for other in models if other.spec.id == model.spec.id and _is_older(other, model)]
    if same_id:
        return [_not_ready("IdTaken", f"Model {same_id[0].name} has the id {model.spec.id} since {same_id[0].created}")]
    lost = [alias for alias in model.spec.aliases if alias not in own_aliases(model, models)]
    if lost:
        text = f"{', '.join(lost)}: an older Model has it; remove it there, or here"
        return [Rung(READY, ConditionStatus.TRUE, "AliasTaken", text)]
    return [Rung(READY, ConditionStatus.TRUE, "Accepted")]


def adapter_rungs(spec: AdapterSpec, models: frozenset[str]) -> list[Rung]:
    """Ready as soon as its base is there."""
    if spec.base not in models:
        return [_not_ready("BaseNotFound", f"there is no Model {spec.base}")]
    return [Rung(READY, ConditionStatus.TRUE, "Accepted")]


def pool_rungs(pool: Pool) -> list[Rung]:
    """Ready as soon as it has a node with accelerators."""
    if not pool.nodes:
        return [_not_ready("NoNodes", "no Ready node carries all labels of nodeSelector")]
    if not pool.total:
        return [
            _not_ready("NoAccelerators", "its nodes advertise none of the resource: does the device plugin run there?")
        ]
    return [Rung(READY, ConditionStatus.TRUE, "Available", f"{pool.free} of {pool.total} free")]


def pool_status(pool: Pool, deployments: int) -> GPUPoolStatus:
    """Counts of a pool; nobody's claims are taken off."""
    return GPUPoolStatus(nodes=len(pool.nodes), total=pool.total, free=pool.free, deployments=deployments)


def _is_older(other: Named, model: Named) -> bool:
    return (other.created, other.name) < (model.created, model.name)


def _not_ready(reason: str, message: str) -> Rung:
    return Rung(READY, ConditionStatus.FALSE, reason, message)

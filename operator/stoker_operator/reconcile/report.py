"""Status, written only where it differs from what is there, and told of where people should know."""

import msgspec

from stoker_operator.api.conditions import Condition, Status
from stoker_operator.cluster.records import Custom
from stoker_operator.errors import NotFound
from stoker_operator.kube.paths import Collection
from stoker_operator.planning.ladder import Rung
from stoker_operator.planning.status import as_written, conditions, note_of
from stoker_operator.reconcile.context import Context


async def report(
    context: Context, collection: Collection, record: Custom, status: Status, rungs: list[Rung]
) -> tuple[Condition, ...]:
    """Write `status` with the rungs as its conditions; returns these. An object that has gone is no error."""
    now = context.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    made = conditions(record.conditions, rungs, record.generation, now)
    wanted = as_written(msgspec.structs.replace(status, conditions=made, observed_generation=record.generation))
    if wanted == record.status:
        return made
    manifest = {
        "apiVersion": collection.api_version,
        "kind": collection.kind,
        "metadata": {"name": record.ref.name, "uid": record.ref.uid}
        | ({"namespace": record.ref.namespace} if record.ref.namespace else {}),
        "status": wanted,
    }
    try:
        answer = await context.client.apply(collection, manifest, "status")
    except NotFound:
        return made
    context.metrics.writes.labels(collection.kind, "status").inc()
    context.inbox.seen(collection, answer)
    if note := note_of(record.conditions, made):
        await context.notes.record(collection, record.ref, note)
    return made

"""Events: what `kubectl describe` shows of transitions. A lost one is counted and otherwise nobody's problem."""

import datetime as dt
import logging
from collections.abc import Callable
from uuid import uuid4

from stoker_core import labels
from stoker_operator.cluster.records import Ref
from stoker_operator.errors import KubeError
from stoker_operator.kube.client import Client
from stoker_operator.kube.paths import EVENTS, Collection
from stoker_operator.metrics import Metrics
from stoker_operator.planning.status import Note

logger = logging.getLogger(__name__)

MESSAGE_LENGTH = 1024
CLUSTER_EVENTS = "default"  # where Events about objects without a namespace are kept


class Notes:
    """Records Events as `identity`."""

    def __init__(self, client: Client, identity: str, metrics: Metrics, now: Callable[[], dt.datetime]) -> None:
        self._client, self._identity, self._metrics, self._now = client, identity, metrics, now

    async def record(self, collection: Collection, ref: Ref, note: Note) -> None:
        """One Event about an object."""
        logger.info("%s %s/%s: %s: %s", collection.kind, ref.namespace, ref.name, note.reason, note.message)
        time = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace = ref.namespace or CLUSTER_EVENTS
        about = {"apiVersion": collection.api_version, "kind": collection.kind, "name": ref.name, "uid": ref.uid}
        manifest = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{ref.name[:200]}.{uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": about | ({"namespace": ref.namespace} if ref.namespace else {}),
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason,
            "message": note.message[:MESSAGE_LENGTH],
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "source": {"component": labels.MANAGER},
            "reportingComponent": labels.MANAGER,
            "reportingInstance": self._identity,
        }
        try:
            await self._client.create(EVENTS, manifest)
        except KubeError:
            self._metrics.notes_lost.inc()

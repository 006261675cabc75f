"""Child workloads: one apps/Deployment per pool that has replicas, under names that anyone can derive."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from stoker_core import labels
from stoker_operator.planning.pod import Identity, Manifest, WorkerPod
from stoker_operator.planning.rollout import Surge

NAME_LENGTH = 52  # leaves room for what the controllers append to pods' names
DIGEST_BYTES = 5


@dataclass(frozen=True, slots=True)
class Owner:
    """The Deployment resource, as an owner reference needs it."""

    identity: Identity
    api_version: str
    kind: str

    def reference(self) -> Manifest:
        """So that the children go with it."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.identity.name,
            "uid": self.identity.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def child_name(deployment: str, pool: str) -> str:
    """The workload's name: readable, and short enough; what is cut off is told apart by a digest."""
    name = f"{deployment}-{pool}"
    if len(name) <= NAME_LENGTH and "." not in name:
        return name
    digest = blake2b(name.encode(), digest_size=DIGEST_BYTES).hexdigest()
    return f"{name.replace('.', '-')[: NAME_LENGTH - len(digest) - 1].rstrip('-')}-{digest}"


def plan_digest(template: Mapping[str, Any]) -> str:
    """Names what pods run: equal templates have equal digests, whatever the number of replicas."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def workload(owner: Owner, pod: WorkerPod, replicas: int, surge: Surge) -> Manifest:
    """The apps/Deployment that keeps `replicas` pods on the pod's pool."""
    template = pod.template()
    digest = plan_digest(template)
    template["metadata"]["labels"][labels.PLAN] = digest
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": child_name(owner.identity.name, pod.pool_name),
            "namespace": owner.identity.namespace,
            "labels": {**pod.labels(), labels.PLAN: digest},
            "ownerReferences": [owner.reference()],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            # Status tells of stuck pods itself; apps' own deadline would only add a second opinion.
            "progressDeadlineSeconds": 2**31 - 1,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge.max_surge, "maxUnavailable": surge.max_unavailable},
            },
            "selector": {
                "matchLabels": {labels.DEPLOYMENT_UID: owner.identity.uid, labels.POOL: pod.pool_name},
            },
            "template": template,
        },
    }

"""Both operators are killed in the middle of a rollout: the next one carries on, and no client notices."""

import time

from e2e.kit.manifests import deployment, model
from e2e.kit.pods import kill
from e2e.kit.record import Measure
from e2e.kit.stoker import NAMESPACE, Stoker
from e2e.kit.traffic import Traffic
from e2e.kit.waiting import until

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/stoker-operator"


def test_a_rollout_outlives_its_operators(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    stoker.cluster.apply(model("steady"), deployment(tenant, "chat", "steady", replicas=2))
    stoker.ready(tenant, "chat")
    old = {pod.name for pod in stoker.pods(tenant, deployment="chat")}

    with Traffic(stoker, "accounts/default/models/steady") as traffic:
        traffic.more(10)
        stoker.cluster.apply(deployment(tenant, "chat", "steady", replicas=2, engine={"maxBatch": 4}))
        until(lambda: len(stoker.pods(tenant, deployment="chat")) > 2, "the rollout has begun", 60)
        began = time.monotonic()
        leader = stoker.get(LEASE)["spec"]["holderIdentity"]
        operators = stoker.pods(NAMESPACE, component="operator")
        assert leader in [pod.name for pod in operators]
        for pod in operators:
            assert kill(pod)
        # Something only an operator can do: nobody has told it while it was away.
        stoker.cluster.apply(deployment(tenant, "chat", "steady", replicas=1, engine={"maxBatch": 4}))
        stoker.ready(tenant, "chat")
        record_property("killed_to_ready_s", round(time.monotonic() - began, 1))
        until(lambda: len(stoker.pods(tenant, deployment="chat")) == 1, "one worker is left", 100)
        assert stoker.pods(tenant, deployment="chat")[0].name not in old
        for name, value in traffic.unharmed(50).items():
            record_property(name, value)

    spec = stoker.get(LEASE)["spec"]
    assert spec["holderIdentity"], spec
    until(lambda: all(pod.ready for pod in stoker.pods(NAMESPACE, component="operator")), "both are back", 90)

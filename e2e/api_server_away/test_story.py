"""The API server answers nobody for a minute: clients are served all the while, and then everything goes on."""

import time

from e2e.kit.manifests import deployment, model
from e2e.kit.record import Measure
from e2e.kit.stoker import NAMESPACE, Stoker
from e2e.kit.traffic import Traffic
from e2e.kit.waiting import until

AWAY_S = 60


def test_a_minute_without_it(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    stoker.cluster.apply(model("aloof"), deployment(tenant, "chat", "aloof", replicas=2))
    stoker.ready(tenant, "chat")
    gateways = {pod.name: pod.restarts for pod in stoker.pods(NAMESPACE, component="gateway")}

    with Traffic(stoker, "accounts/default/models/aloof") as traffic:
        traffic.more(10)
        stoker.cluster.freeze_api_server()
        try:
            before = len(traffic.answers)
            traffic.go_on(AWAY_S)
            record_property("answered_meanwhile", len(traffic.answers) - before)
        finally:
            stoker.cluster.thaw_api_server()
        began = time.monotonic()
        # Work goes on: a change of the spec reaches the workers.
        stoker.cluster.apply(deployment(tenant, "chat", "aloof", replicas=1))
        stoker.ready(tenant, "chat")
        until(lambda: len(stoker.pods(tenant, deployment="chat")) == 1, "one worker is left", 100)
        record_property("work_again_after_s", round(time.monotonic() - began, 1))
        traffic.more(10)
        for name, value in traffic.unharmed(50).items():
            record_property(name, value)

    assert {pod.name: pod.restarts for pod in stoker.pods(NAMESPACE, component="gateway")} == gateways
    until(lambda: all(pod.ready for pod in stoker.pods(NAMESPACE, component="operator")), "operators are back", 90)

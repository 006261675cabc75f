"""Two models are served; the alias that clients use moves from one to the other, and no client notices."""

import time

from e2e.kit.manifests import deployment, model
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker
from e2e.kit.traffic import Traffic, ask
from e2e.kit.waiting import until

ALIAS = "assistant"


def test_an_alias_moves_under_traffic(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    stoker.cluster.apply(
        model("blue", ALIAS), model("green"), deployment(tenant, "blue", "blue"), deployment(tenant, "green", "green")
    )
    stoker.ready(tenant, "blue")
    stoker.ready(tenant, "green")
    with stoker.client() as http:
        for name in ("accounts/default/models/blue", "accounts/default/models/green", ALIAS):
            assert not ask(http, name).error

    with Traffic(stoker, ALIAS) as traffic:
        traffic.more(10)
        assert _served(stoker, tenant, "green") == 1
        began = time.monotonic()
        # Both have it for a moment: the older one keeps it until it is taken from it.
        stoker.cluster.apply(model("green", ALIAS))
        stoker.cluster.apply(model("blue"))
        until(lambda: _served(stoker, tenant, "green") > 1, "the other model answers", 30)
        record_property("moved_after_s", round(time.monotonic() - began, 1))
        traffic.more(10)
        stoker.cluster.kubectl("-n", tenant, "delete", "sdep", "blue")
        stoker.cluster.kubectl("delete", "model", "blue")
        traffic.more(20)
        for name, value in traffic.unharmed().items():
            record_property(name, value)
    # Nothing was rolled for it.
    assert [pod.restarts for pod in stoker.pods(tenant, deployment="green")] == [0]


def _served(stoker: Stoker, tenant: str, deployment: str) -> int:
    """Requests that its one worker has ended."""
    return int(stoker.metric(stoker.pods(tenant, deployment=deployment)[0], "stoker_worker_requests_ended_total"))

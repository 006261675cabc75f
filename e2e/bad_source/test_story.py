"""A Model's source names weights that are not there: the status says so, and heals when the source is mended."""

import time

from e2e.kit.manifests import EMBEDDED, deployment, model
from e2e.kit.record import Measure
from e2e.kit.stoker import Stoker
from e2e.kit.traffic import ask

WRONG = "embedded://smollm2-135m-instrukt"


def test_wrong_then_mended(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    began = time.monotonic()
    stoker.cluster.apply(model("misspelt", uri=WRONG), deployment(tenant, "chat", "misspelt"))
    blocked = stoker.condition(tenant, "chat", "Ready", "EngineFailed")
    assert "smollm2-135m-instrukt" in blocked["message"], blocked
    record_property("named_after_s", round(time.monotonic() - began, 1))
    events = stoker.get(f"/api/v1/namespaces/{tenant}/events", fieldSelector="involvedObject.name=chat")["items"]
    assert [event["type"] for event in events if event["reason"] == "EngineFailed"] == ["Warning"]

    began = time.monotonic()
    stoker.cluster.apply(model("misspelt", uri=EMBEDDED))
    stoker.ready(tenant, "chat")
    record_property("mended_to_ready_s", round(time.monotonic() - began, 1))
    with stoker.client() as http:
        assert not ask(http, "accounts/default/models/misspelt").error


def test_a_served_model_survives_a_bad_edit(stoker: Stoker, tenant: str, record_property: Measure) -> None:
    stoker.cluster.apply(model("edited"), deployment(tenant, "chat", "edited"))
    stoker.ready(tenant, "chat")
    stoker.cluster.apply(model("edited", uri=WRONG))
    blocked = stoker.condition(tenant, "chat", "Ready", "EngineFailed")
    assert "(1 of an older generation still serve)" in blocked["message"]
    with stoker.client() as http:
        assert not ask(http, "accounts/default/models/edited").error
        began = time.monotonic()
        stoker.cluster.apply(model("edited", uri=EMBEDDED))
        stoker.ready(tenant, "chat")
        record_property("reverted_to_ready_s", round(time.monotonic() - began, 1))
        assert not ask(http, "accounts/default/models/edited").error

"""The previous commit's chart and images are installed and serve; an upgrade to this commit's changes all, and no client notices."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.conftest import TAG
from e2e.kit import earlier
from e2e.kit.manifests import cpu_pool, deployment, model, namespace
from e2e.kit.record import Measure
from e2e.kit.stoker import CHART, NAMESPACE, ROOT, Stoker, clean
from e2e.kit.traffic import Traffic
from e2e.kit.waiting import until

PREVIOUS = "previous"
TENANT = "upgraded"


@pytest.fixture
def previous(stoker: Stoker, tmp_path: Path) -> Iterator[Stoker]:
    """The release as the previous commit has it."""
    tree = earlier.checkout(tmp_path)
    if tree is None:
        pytest.skip("the previous commit, or its chart, is not here")
    earlier.import_images(stoker.cluster, tree, PREVIOUS)
    stoker.uninstall()
    stoker.helm("install", PREVIOUS, tree / CHART.relative_to(ROOT))
    stoker.cluster.apply(namespace(TENANT), cpu_pool(), model("kept"), deployment(TENANT, "chat", "kept", replicas=2))
    stoker.ready(TENANT, "chat")
    yield stoker
    clean(stoker)


def test_no_request_fails_while_everything_is_replaced(previous: Stoker, record_property: Measure) -> None:
    stoker, key = previous, previous.key
    workers = {pod.name for pod in stoker.pods(TENANT, deployment="chat")}
    with Traffic(stoker, "accounts/default/models/kept") as traffic:
        traffic.more(10)
        began = time.monotonic()
        stoker.helm("upgrade", TAG)
        record_property("upgrade_s", round(time.monotonic() - began, 1))
        # New worker images roll every Deployment.
        until(lambda: workers.isdisjoint(_names(stoker)) and len(_names(stoker)) == 2, "new workers", 240)
        stoker.ready(TENANT, "chat")
        record_property("all_new_s", round(time.monotonic() - began, 1))
        for name, value in traffic.unharmed(200).items():
            record_property(name, value)
    assert stoker.key == key
    for component in ("operator", "gateway"):
        until(lambda one=component: len(stoker.pods(NAMESPACE, component=one)) == 2, f"two of {component}", 120)  # type: ignore[misc]
    images = stoker.get("/api/v1/pods", labelSelector="app.kubernetes.io/component in (operator,gateway,worker)")
    assert {one["spec"]["containers"][0]["image"].rpartition(":")[2] for one in images["items"]} == {TAG}


def _names(stoker: Stoker) -> set[str]:
    return {pod.name for pod in stoker.pods(TENANT, deployment="chat")}

"""Watches that fall silent: a list finds what they missed, puts it right, and says so."""

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from tests.operator.cluster.cluster import Cluster
from tests.operator.cluster.stage import make_model, model, unique

from stoker_operator.cluster.cache import Cache
from stoker_operator.cluster.keys import Key
from stoker_operator.cluster.waiting import Waiting
from stoker_operator.health import Health
from stoker_operator.inbox import Inbox
from stoker_operator.kube.access import from_kubeconfig
from stoker_operator.kube.client import connected
from stoker_operator.kube.paths import MODELS
from stoker_operator.metrics import Metrics
from stoker_operator.queue import Queue
from stoker_operator.resync import Resync


@pytest.fixture
async def silent(cluster: Cluster) -> AsyncIterator[tuple[Resync, Cache]]:
    """An operator's cache that no watch ever reaches."""
    cache, metrics = Cache(), Metrics(CollectorRegistry())
    inbox = Inbox(cache, Waiting(), Queue[Key]())
    async with connected(from_kubeconfig(cluster.plane.kubeconfig)) as client:
        yield Resync(client, cache, inbox, metrics), cache


async def test_what_watches_miss_comes_to_light(silent: tuple[Resync, Cache], cluster: Cluster) -> None:
    resync, cache = silent
    health = Health(stale=lambda: resync.stale)
    changed, gone, late = make_model(cluster), make_model(cluster), unique("late")
    await resync.fill()
    await resync.check(grace_s=0)
    assert not health.complaint()
    cluster.apply(model(changed, aliases=["x"]))
    cluster.delete(model(gone))
    cluster.apply(model(late))
    await resync.check(grace_s=0)
    found = cache.custom(MODELS, "", changed)
    assert found is not None
    assert found.spec.aliases == ("x",)
    assert cache.custom(MODELS, "", gone) is None
    assert cache.custom(MODELS, "", late) is not None
    assert "Model" in health.complaint()
    await resync.check(grace_s=0)
    assert not health.complaint()


async def test_an_end_that_was_missed_is_put_right_quietly(silent: tuple[Resync, Cache], cluster: Cluster) -> None:
    """After a gap kopf lists anew and says nothing of what has gone meanwhile: no reason to start anew."""
    resync, cache = silent
    gone = make_model(cluster)
    await resync.fill()
    cluster.delete(model(gone))
    await resync.check(grace_s=0)
    assert cache.custom(MODELS, "", gone) is None
    assert "Model" not in resync.stale

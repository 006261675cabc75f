"""kopf: watches, and nothing else. It writes nothing, keeps no state in objects, and decides nothing."""

import asyncio
import datetime as dt
import tempfile
from collections.abc import Callable
from collections.abc import Collection as Collection_
from pathlib import Path
from typing import Any

import kopf

from stoker_core.api_server import Access
from stoker_operator.errors import WatchesEnded
from stoker_operator.inbox import Inbox
from stoker_operator.kube.paths import WATCHED, Collection
from stoker_operator.metrics import Metrics
from stoker_operator.settings import Watching

TOKEN_LIFE = dt.timedelta(minutes=10)
# Kopf names itself by the user otherwise, whom a container need not have; it is used for peering, which is off.
NOBODY: Any = "stoker-operator"
STOP_S = 2.0


async def watch(
    access: Access, settings: Watching, inbox: Inbox, metrics: Metrics, started: Callable[[], None]
) -> None:
    """Bring every event of every kind to the inbox, until cancelled. `started` is called once kopf has put its signal handlers in place.

    Raises WatchesEnded if kopf gives up.
    """
    registry = kopf.OperatorRegistry()
    for collection in WATCHED:
        _register(registry, collection, inbox, metrics)

    with tempfile.TemporaryDirectory() as folder:
        connection = _connection(access, Path(folder))

        @kopf.on.login(registry=registry, id="login")
        async def _login(**_: Any) -> kopf.ConnectionInfo:
            return connection()

        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=_settings(settings),
            standalone=True,
            clusterwide=True,
            identity=NOBODY,
        )
        started()
        await _until_ended(tasks)


async def _until_ended(tasks: Collection_[asyncio.Task[Any]]) -> None:
    """Kopf's own way to wait for its tasks would end every other task of the process with them, after five seconds."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=STOP_S)
    raise WatchesEnded("kopf has stopped watching")


def _register(registry: kopf.OperatorRegistry, collection: Collection, inbox: Inbox, metrics: Metrics) -> None:
    count = metrics.watch_events.labels(collection.kind if collection.group != "apps" else "Workload")

    async def on_event(event: Any, **_: Any) -> None:
        count.inc()
        inbox.event(collection, event)

    name = f"{collection.group}-{collection.plural}"
    kopf.on.event(collection.group, collection.version, collection.plural, registry=registry, id=name)(on_event)


def _settings(watching: Watching) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.process.ultimate_exiting_timeout = None
    settings.scanning.disabled = (
        True  # our kinds are there before the operator is: no right to read definitions is needed
    )
    settings.watching.server_timeout = watching.server_timeout_s
    settings.watching.inactivity_timeout = watching.inactivity_timeout_s
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.queueing.exit_timeout = 1
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf would copy every object three times, to find changes for handlers that we have none of: most of an event's cost."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """There are no handlers whose progress could be kept."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


def _connection(access: Access, folder: Path) -> Callable[[], kopf.ConnectionInfo]:
    """How kopf reaches the API server; asked again when a token may have been replaced."""
    files = {name: _file(folder / name, pem) for name, pem in (("cert", access.cert), ("key", access.key))}

    def connection() -> kopf.ConnectionInfo:
        expiration = dt.datetime.now(dt.UTC) + TOKEN_LIFE if access.token_file else None
        return kopf.ConnectionInfo(
            server=access.url,
            ca_data=access.ca.encode() or None,
            insecure=access.insecure or None,
            token=access.bearer() or None,
            certificate_path=files["cert"],
            private_key_path=files["key"],
            expiration=expiration,
        )

    return connection


def _file(path: Path, pem: str) -> str | None:
    if not pem:
        return None
    path.touch(mode=0o600)
    path.write_text(pem)
    return str(path)

"""HTTP for kubelet and Prometheus: /healthz, /readyz, /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stoker_operator.metrics import Metrics

STUCK_S = 300.0  # a key that is ready for so long will never be taken


@dataclass(slots=True)
class Health:
    """What this process knows of itself.

    standing_by    the API server has answered; another process may lead
    stale          kinds whose watches have missed changes
    oldest_s       age of the first key that waits to be reconciled
    """

    standing_by: bool = False
    stale: Callable[[], frozenset[str]] = frozenset
    oldest_s: Callable[[], float] = field(default=lambda: 0.0)

    def complaint(self) -> str:
        """Why the process should be started anew; "" if it should not."""
        if stale := self.stale():
            return f"the watches of {', '.join(sorted(stale))} have missed changes"
        if self.oldest_s() > STUCK_S:
            return f"a key has been ready for {self.oldest_s():.0f} s"
        return ""


@asynccontextmanager
async def serving(address: tuple[str, int], health: Health, metrics: Metrics) -> AsyncIterator[int]:
    """Serve as long as the context lasts; yields the port."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", lambda _: _answer(health.complaint())),
            web.get("/readyz", lambda _: _answer("" if health.standing_by else "the API server has not answered yet")),
            web.get("/metrics", lambda _: _metrics(metrics)),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, *address, shutdown_timeout=0.5)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def _answer(complaint: str) -> web.Response:
    return web.Response(status=503 if complaint else 200, text=(complaint or "ok") + "\n")


async def _metrics(metrics: Metrics) -> web.Response:
    return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

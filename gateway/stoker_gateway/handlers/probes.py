"""`/health`, `/ready` and `/metrics`: for whoever operates the process."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from stoker_gateway.gateway import Gateway


class Probes:
    """The process seen from outside."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def health(self, request: Request) -> Response:
        """The process lives."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """Requests would be answered, or held for a deployment that sleeps; 503 until then. The body tells of each engine."""
        pool, ready = self._gateway.pool, self._gateway.ready
        status = "ready" if ready else "no worker is ready"
        body = {"status": status, "workers": pool.states(), "engines": pool.engines()}
        return JSONResponse(body, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus's text."""
        return Response(self._gateway.metrics.render(), media_type=CONTENT_TYPE_LATEST)

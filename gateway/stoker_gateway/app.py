"""The application: hot routes by one look-up of the path, all else by Starlette."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from stoker_gateway.connection import HotRoutes
from stoker_gateway.errors import ApiError, InternalError, MethodNotAllowed, NotFound, answer
from stoker_gateway.gateway import Gateway
from stoker_gateway.handlers.fronts import CHAT, COMPLETIONS
from stoker_gateway.handlers.generate import Generate
from stoker_gateway.handlers.guard import HotRoute
from stoker_gateway.handlers.models import Models
from stoker_gateway.handlers.probes import Probes

# OpenAI's, Fireworks', and what a Fireworks client makes of a base URL that ends in /inference/v1. The longest is first.
PREFIXES = ("/inference/v1/v1", "/inference/v1", "/v1")


class App:
    """One router under every prefix. `hot` routes pass none of Starlette's layers; `rest` is an ASGI application."""

    def __init__(self, gateway: Gateway) -> None:
        chat = HotRoute(CHAT.route, CHAT.id_prefix, Generate(CHAT, gateway), gateway.metrics)
        completions = HotRoute(
            COMPLETIONS.route, COMPLETIONS.id_prefix, Generate(COMPLETIONS, gateway), gateway.metrics
        )
        routes = {"/chat/completions": chat, "/completions": completions}
        self.hot: HotRoutes = {prefix + path: route for prefix in PREFIXES for path, route in routes.items()}
        self.rest = _starlette(gateway)


def _starlette(gateway: Gateway) -> Starlette:
    models, probes = Models(gateway), Probes(gateway)
    api: list[BaseRoute] = [Route("/models", models.index), Route("/models/{model:path}", models.show)]
    routes: list[BaseRoute] = [
        Route("/health", probes.health),
        Route("/ready", probes.ready),
        Route("/metrics", probes.metrics),
        *(Mount(prefix, routes=api) for prefix in PREFIXES),
    ]
    app = Starlette(routes=routes, exception_handlers={ApiError: _api_error, HTTPException: _http_error, 500: _defect})
    app.router.redirect_slashes = False
    return app


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    told = answer(error)
    headers = {name.decode(): value.decode() for name, value in told.headers}
    return Response(told.body, told.status, headers, media_type="application/json")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return await _api_error(request, MethodNotAllowed(f"{request.method} is not possible here."))
    return await _api_error(request, NotFound("Nothing is served at this path. The API is under /v1."))


async def _defect(request: Request, error: Exception) -> Response:
    return await _api_error(request, InternalError("The gateway failed on this request."))

"""`GET /models` and `GET /models/{id}`."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from stoker_gateway.errors import ModelNotFound
from stoker_gateway.gateway import Gateway
from stoker_gateway.routing.table import ModelEntry


class Models:
    """The models of the routing table, to whoever may use them."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def index(self, request: Request) -> Response:
        """All models that the account may use, by id."""
        entries = self._gateway.pool.table.usable_by(self._account(request))
        return _json({"object": "list", "data": [_card(entry) for entry in entries]})

    async def show(self, request: Request) -> Response:
        """One model by id or alias. The id's slashes may arrive as %2F: the path is decoded when it gets here."""
        entry = self._gateway.pool.table.resolve(request.path_params["model"], self._account(request))
        if entry is None:
            raise ModelNotFound("No such model. GET /v1/models lists those that exist.", param="model")
        return _json(_card(entry))

    def _account(self, request: Request) -> str:
        return self._gateway.auth.principal(lambda name: _header(request, name)).account


def _header(request: Request, name: bytes) -> bytes | None:
    value = request.headers.get(name.decode())
    return value.encode("latin-1") if value is not None else None


def _card(entry: ModelEntry) -> dict[str, Any]:
    return {"id": entry.model_id, "object": "model", "created": entry.created_unix_s, "owned_by": entry.owner}


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")

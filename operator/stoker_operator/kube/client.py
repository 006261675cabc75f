"""One asynchronous client of the API server. Errors leave it as the tree in `errors`."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from stoker_core import labels
from stoker_core.api_server import Access
from stoker_operator.errors import Busy, Conflict, KubeError, NotFound, Refused, Unreachable
from stoker_operator.kube.paths import Collection

Json = dict[str, Any]

FIELD_MANAGER = labels.MANAGER
TIMEOUT_S = 30.0
PAGE = 500
TOKEN_LIFE_S = 60.0
JSON = "application/json"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
BY_STATUS: Mapping[int, type[KubeError]] = {404: NotFound, 409: Conflict, 429: Busy, 504: Busy}


class Client:
    """Requests as one user. Use within `connected`, which owns the session."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self._access = access
        self._session = session
        self._token, self._token_until = "", 0.0

    async def get(self, collection: Collection, namespace: str, name: str, *, metadata_only: bool = False) -> Json:
        """One object; of `metadata_only` the rest does not leave the API server. Raises KubeError."""
        accept = METADATA_ONLY if metadata_only else JSON
        return await self._request("GET", collection.path(namespace, name), accept=accept)

    async def list_all(self, collection: Collection) -> tuple[list[Json], str]:
        """Every object of a kind, and the version that the list is of. Raises KubeError."""
        items: list[Json] = []
        query = {"limit": str(PAGE)}
        while True:
            page = await self._request("GET", f"{collection.path()}?{urlencode(query)}")
            items += page["items"]
            if not (following := page["metadata"].get("continue")):
                return items, str(page["metadata"]["resourceVersion"])
            query["continue"] = following

    async def apply(self, collection: Collection, manifest: Json, subresource: str = "", *, force: bool = True) -> Json:
        """Make the fields of `manifest` ours and as it says; fields that were ours and are not in it go.

        Without `force`, a field that another manager has set otherwise raises Conflict. Raises KubeError.
        """
        metadata = manifest["metadata"]
        path = collection.path(metadata.get("namespace", ""), metadata["name"], subresource)
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": str(force).lower()})
        return await self._request("PATCH", f"{path}?{query}", manifest, content="application/apply-patch+yaml")

    async def patch(self, collection: Collection, namespace: str, name: str, steps: Sequence[Json]) -> Json:
        """Carry out all steps of a JSON patch, or none. Raises KubeError."""
        path = f"{collection.path(namespace, name)}?{urlencode({'fieldManager': FIELD_MANAGER})}"
        return await self._request("PATCH", path, list(steps), content="application/json-patch+json")

    async def create(self, collection: Collection, manifest: Json) -> Json:
        """A new object. Raises Conflict if there is one, and other KubeErrors."""
        path = collection.path(manifest["metadata"].get("namespace", ""))
        return await self._request("POST", f"{path}?{urlencode({'fieldManager': FIELD_MANAGER})}", manifest)

    async def replace(self, collection: Collection, manifest: Json) -> Json:
        """The whole object; its resourceVersion makes it raise Conflict if it has changed. Raises KubeError."""
        metadata = manifest["metadata"]
        path = collection.path(metadata.get("namespace", ""), metadata["name"])
        return await self._request("PUT", f"{path}?{urlencode({'fieldManager': FIELD_MANAGER})}", manifest)

    async def delete(self, collection: Collection, namespace: str, name: str, uid: str) -> None:
        """Delete this very object. One that is gone is no error; another of its name stays and raises Conflict. Raises KubeError."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        try:
            await self._request(
                "DELETE", collection.path(namespace, name), {**options, "propagationPolicy": "Background"}
            )
        except NotFound:
            return

    async def _request(
        self, method: str, path: str, body: object = None, *, accept: str = JSON, content: str = JSON
    ) -> Json:
        headers = {"Accept": accept, "Content-Type": content, **self._authorization()}
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._session.request(method, self._access.url + path, data=data, headers=headers) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{method} {path.partition('?')[0]}: {type(error).__name__}: {error}") from None
        if response.status >= 300:
            raise _error(method, path, response.status, answer)
        decoded: Json = msgspec.json.decode(answer)
        return decoded

    def _authorization(self) -> dict[str, str]:
        now = time.monotonic()
        if now >= self._token_until:
            self._token, self._token_until = self._access.bearer(), now + TOKEN_LIFE_S
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


@asynccontextmanager
async def connected(access: Access, connections: int = 32) -> AsyncIterator[Client]:
    """A client, as long as the context lasts. At most `connections` requests are under way at once."""
    connector = aiohttp.TCPConnector(ssl=access.tls(), limit=connections, keepalive_timeout=60)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers = {"User-Agent": FIELD_MANAGER}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        yield Client(access, session)


def _error(method: str, path: str, status: int, answer: bytes) -> KubeError:
    """The API server's own words, which name fields and never hold a Secret's data."""
    try:
        message = str(msgspec.json.decode(answer).get("message", ""))
    except (msgspec.DecodeError, AttributeError):
        message = ""
    type_ = BY_STATUS.get(status, Busy if status >= 500 else Refused)
    return type_(f"{method} {path.partition('?')[0]}: {status}: {message[:1000]}")

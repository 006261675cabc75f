"""The few requests that a gateway makes of an API server: list, watch, and one patch."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from stoker_core.api_server import Access

PAGE = 500
TIMEOUT_S = 30.0
WATCH_S = 300  # the API server ends a watch after so long
SILENCE_S = 90.0  # a watch that says nothing for so long is dead: bookmarks come about once a minute
MERGE_PATCH = "application/merge-patch+json"


class ApiError(Exception):
    """The API server was not reached, or refused. `status` is HTTP's; 0: it was not reached."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class ApiClient:
    """Requests as one user. Use within `connected`."""

    def __init__(self, access: Access, session: aiohttp.ClientSession, tls: ssl.SSLContext | None) -> None:
        self._access = access
        self._session = session
        self._tls = tls if tls is not None else True

    async def list_all(self, path: str, selector: str) -> tuple[list[Any], str]:
        """Every object at a path, and the version that the list is of. Raises ApiError."""
        items: list[Any] = []
        query = {"limit": str(PAGE), "labelSelector": selector}
        while True:
            page = await self._request("GET", path, query)
            items += page["items"]
            if not (following := page["metadata"].get("continue")):
                return items, str(page["metadata"]["resourceVersion"])
            query["continue"] = following

    async def watch(self, path: str, selector: str, version: str) -> AsyncIterator[tuple[str, Any]]:
        """(type, object) of every change since a version, until the server ends it. Raises ApiError."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }
        limits = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=SILENCE_S)
        async with self._answer("GET", path, query, limits) as answer:
            try:
                async for line in _lines(answer.content):
                    event = msgspec.json.decode(line)
                    yield event["type"], event["object"]
            finally:
                # A stream that is left in the middle: TLS's farewell could take longer than this process lives.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    async def merge(self, path: str, patch: Mapping[str, Any]) -> None:
        """Merge a patch into the object at a path. Raises ApiError."""
        await self._request("PATCH", path, {}, msgspec.json.encode(patch), MERGE_PATCH)

    async def _request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None, content: str = ""
    ) -> Any:
        limits = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with self._answer(method, path, query, limits, body, content) as answer:
            return msgspec.json.decode(await answer.read())

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
        body: bytes | None = None,
        content: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {token}"} if (token := self._access.bearer()) else {}
        if content:
            headers["Content-Type"] = content
        url = f"{self._access.url}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, timeout=limits, ssl=self._tls
            ) as answer:
                if answer.status >= 400:
                    raise ApiError(answer.status, f"HTTP {answer.status} for {method} {path}")
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__} for {method} {path}") from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Of any length: objects may be large."""
    rest = b""
    async for data in content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line


@asynccontextmanager
async def connected(access: Access) -> AsyncIterator[ApiClient]:
    """A client, and its connections until the end."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield ApiClient(access, session, access.tls() if access.url.startswith("https") else None)
    await asyncio.sleep(0)  # sockets close in the loop's next turn

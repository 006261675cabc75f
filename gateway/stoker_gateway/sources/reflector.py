"""All objects of one kind, as the API server told them last. While it is away, what was known stays."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import msgspec

from stoker_gateway.sources.api_client import ApiClient, ApiError
from stoker_gateway.sources.objects import Kind, Object

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 10.0
GONE = 410

T = TypeVar("T", bound=Object)
log = logging.getLogger(__name__)


class Expired(Exception):
    """The version that a watch went on from is too old: list again."""


class Reflector(Generic[T]):
    """`objects` by uid; `on_change` is called after each change, and once when the first list is in."""

    def __init__(self, client: ApiClient, kind: Kind, on_change: Callable[[], None]) -> None:
        self.objects: dict[str, T] = {}
        self.synced = False
        self._client = client
        self._kind = kind
        self._on_change = on_change
        self._version = ""

    async def run(self) -> None:
        """List, then watch, for ever."""
        failures = 0
        while True:
            try:
                await self._list()
                failures = 0
                while True:
                    await self._watch()
            except Expired:
                continue
            except ApiError as error:
                failures += 1
                pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2.0**failures) * (0.5 + random.random() / 2)
                log.warning("watching %s: %s; again in %.1f s", self._kind.path, error, pause_s)
                await asyncio.sleep(pause_s)

    async def _list(self) -> None:
        items, self._version = await self._client.list_all(self._kind.path, self._kind.selector)
        found = {}
        for item in items:
            if (parsed := self._parse(item)) is not None:
                found[parsed.metadata.uid] = parsed
        self.objects = found
        self.synced = True
        self._on_change()

    async def _watch(self) -> None:
        async for kind, item in self._client.watch(self._kind.path, self._kind.selector, self._version):
            if kind == "ERROR":
                if item.get("code") == GONE:
                    raise Expired
                raise ApiError(int(item.get("code", 0)), str(item.get("reason", "an error event")))
            self._version = item["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                self._take(kind, item)

    def _take(self, kind: str, item: Any) -> None:
        parsed = self._parse(item)
        if kind == "DELETED" or parsed is None:
            self.objects.pop(item["metadata"]["uid"], None)
        else:
            self.objects[parsed.metadata.uid] = parsed
        self._on_change()

    def _parse(self, item: Any) -> T | None:
        """None for an object that does not look as its definition says: one bad object must not hide the others."""
        try:
            return cast("T", self._kind.parse(item))
        except msgspec.ValidationError as error:
            log.error("%s %s is passed over: %s", self._kind.path, item["metadata"]["name"], error)
            return None

"""Leadership by a Lease: won before anything is watched, renewed while this process acts, given back when it ends."""

import asyncio
import datetime as dt
import logging
import time
from typing import Any

from stoker_operator.errors import Conflict, KubeError, LeadershipLost, NotFound
from stoker_operator.kube.client import Client, Json
from stoker_operator.kube.paths import LEASES
from stoker_operator.planning.lease import Seen, Step, decide, see
from stoker_operator.settings import Leadership

logger = logging.getLogger(__name__)

# Parts of the Lease's duration. Whoever could not renew it stops before another may take it.
POLL, RENEW, GIVE_UP = 0.1, 0.25, 0.7
RELEASE_S = 2.0


class Leader:
    """One process's wish to lead."""

    def __init__(self, client: Client, namespace: str, me: str, settings: Leadership) -> None:
        self._client, self._namespace, self._me, self._settings = client, namespace, me, settings
        self._seen: Seen | None = None
        self._lease: Json | None = None

    async def look(self) -> None:
        """Read the Lease, whoever holds it. Raises KubeError."""
        await self._read()

    async def win(self) -> None:
        """Return as soon as this process holds the Lease."""
        while True:
            try:
                if await self._attempt():
                    logger.info("%s leads", self._me)
                    return
            except KubeError as error:
                logger.warning("the Lease cannot be had: %s", error)
            await asyncio.sleep(self._settings.lease_duration_s * POLL)

    async def keep(self) -> None:
        """Renew, for as long as that succeeds. Raises LeadershipLost."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.lease_duration_s * RENEW)
            try:
                async with asyncio.timeout(self._settings.lease_duration_s * RENEW):
                    if not await self._attempt():
                        raise LeadershipLost("another process holds the Lease")
                renewed = time.monotonic()
            except (KubeError, TimeoutError) as error:
                if time.monotonic() - renewed > self._settings.lease_duration_s * (GIVE_UP - RENEW):
                    self._lease = None  # perhaps another's by now: not to be released
                    raise LeadershipLost(f"the Lease could not be renewed: {error}") from None

    async def release(self) -> None:
        """Let another process take it at once, if the API server answers soon. One that is not ours is left alone."""
        if self._lease is None or self._lease["spec"].get("holderIdentity") != self._me:
            return
        try:
            async with asyncio.timeout(RELEASE_S):
                await self._client.replace(LEASES, self._with_holder(self._lease, ""))
        except (KubeError, TimeoutError) as error:
            logger.warning("the Lease could not be released: %s", error)
        self._lease = None

    async def _attempt(self) -> bool:
        """Read, decide and write; whether this process holds the Lease now. Raises KubeError."""
        lease = await self._read()
        step = decide(self._me, self._seen, time.monotonic(), self._settings.lease_duration_s)
        if step is Step.WAIT:
            return False
        try:
            if lease is None:
                self._lease = await self._client.create(LEASES, self._with_holder(self._empty(), self._me))
            else:
                self._lease = await self._client.replace(LEASES, self._with_holder(lease, self._me))
        except Conflict:
            return False
        self._remember(self._lease)
        return True

    async def _read(self) -> Json | None:
        try:
            lease = await self._client.get(LEASES, self._namespace, self._settings.lease_name)
        except NotFound:
            self._seen = None
            return None
        self._remember(lease)
        return lease

    def _remember(self, lease: Json) -> None:
        spec = lease.get("spec", {})
        self._seen = see(self._seen, spec.get("holderIdentity") or "", spec.get("renewTime") or "", time.monotonic())

    def _empty(self) -> Json:
        metadata = {"name": self._settings.lease_name, "namespace": self._namespace}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": {}}

    def _with_holder(self, lease: Json, holder: str) -> Json:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before: dict[str, Any] = lease.get("spec", {})
        spec = {**before, "holderIdentity": holder, "renewTime": now}
        spec["leaseDurationSeconds"] = self._settings.lease_duration_s
        if holder and before.get("holderIdentity") != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = before.get("leaseTransitions", -1) + 1
        return {**lease, "spec": spec}

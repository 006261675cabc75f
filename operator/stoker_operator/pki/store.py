"""Certificates as Secrets. Only the authority's own Secret is ever read; of the others, the metadata is enough."""

import base64
import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stoker_core import labels
from stoker_core.identity import GATEWAY
from stoker_operator.api.kubernetes import Meta
from stoker_operator.errors import Conflict, NotFound, OperatorError
from stoker_operator.kube.client import Client, Json
from stoker_operator.kube.paths import SECRETS
from stoker_operator.pki.authority import Authority, KeyPair
from stoker_operator.pki.decision import ISSUER, NOT_AFTER, Found, Step, Wanted, decide
from stoker_operator.settings import Identities

CERT, KEY, CA = "tls.crt", "tls.key", "ca.crt"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose certificate it is, and where. `owner`: with whom the Secret goes; None: it stays."""

    namespace: str
    secret: str
    identity: str
    server: bool
    owner: Mapping[str, Any] | None = None

    @property
    def owner_uid(self) -> str:
        """Empty without an owner."""
        return str(self.owner["uid"]) if self.owner else ""


class Certificates:
    """Keeps Secrets with certificates as they should be. `now` is a clock in UTC."""

    def __init__(
        self, client: Client, authority: Authority, lifetime: dt.timedelta, now: Callable[[], dt.datetime]
    ) -> None:
        self._client, self._authority, self._lifetime, self._now = client, authority, lifetime, now
        self._checked: dict[tuple[str, str], tuple[float, Found]] = {}

    async def ensure(self, holder: Holder, max_age_s: float, *, is_new: bool = False) -> Step:
        """Look at the Secret, unless that was less than `max_age_s` ago, and do what is needed. Raises KubeError.

        is_new  there was probably never one: it is made without looking first, and looked for if that fails
        """
        step = Step.ISSUE if is_new and self._key(holder) not in self._checked else await self._step(holder, max_age_s)
        try:
            if step in (Step.ISSUE, Step.RENEW):
                await self._issue(holder, step)
        except Conflict:
            if not is_new:
                raise
            return await self.ensure(holder, 0.0)
        return step

    async def _step(self, holder: Holder, max_age_s: float) -> Step:
        found = await self._found(holder, max_age_s)
        return decide(found, Wanted(holder.owner_uid, self._authority.fingerprint, self._lifetime), self._now())

    async def _issue(self, holder: Holder, step: Step) -> None:
        now = self._now()
        made = self._authority.issue(holder.identity, server=holder.server, now=now, lifetime=self._lifetime)
        await self._write(_manifest(holder, made, self._authority), step)
        found = Found(True, holder.owner_uid, self._authority.fingerprint, made.not_after.isoformat())
        self._checked[self._key(holder)] = (time.monotonic(), found)

    @staticmethod
    def _key(holder: Holder) -> tuple[str, str]:
        return holder.namespace, holder.secret

    async def _found(self, holder: Holder, max_age_s: float) -> Found | None:
        key = self._key(holder)
        at, known = self._checked.get(key, (float("-inf"), None))
        if known and known.owner_uid == holder.owner_uid and time.monotonic() - at < max_age_s:
            return known
        found = await find(self._client, *key)
        if found:
            self._checked[key] = (time.monotonic(), found)
        return found

    async def _write(self, manifest: Json, step: Step) -> None:
        if step is Step.ISSUE:
            await self._client.create(SECRETS, manifest)
            return
        metadata = manifest["metadata"]
        changed = {"labels": metadata["labels"], "annotations": metadata["annotations"]}
        changed["ownerReferences"] = metadata.get("ownerReferences", [])
        steps = [{"op": "add", "path": f"/metadata/{name}", "value": value} for name, value in changed.items()]
        steps.append({"op": "add", "path": "/data", "value": manifest["data"]})
        await self._client.patch(SECRETS, metadata["namespace"], metadata["name"], steps)


async def find(client: Client, namespace: str, name: str) -> Found | None:
    """What a Secret's metadata tells; None if there is none. Raises KubeError."""
    try:
        answer = await client.get(SECRETS, namespace, name, metadata_only=True)
    except NotFound:
        return None
    meta = msgspec.convert(answer["metadata"], Meta)
    owner = meta.controller
    return Found(
        ours=meta.labels.get(labels.MANAGED_BY) == labels.MANAGER,
        owner_uid=owner.uid if owner else "",
        issuer=meta.annotations.get(ISSUER, ""),
        not_after=meta.annotations.get(NOT_AFTER, ""),
    )


async def open_authority(client: Client, namespace: str, secret: str, now: dt.datetime) -> Authority:
    """The authority that the Secret keeps; a new one if there is none. Raises KubeError, OperatorError."""
    try:
        data = (await client.get(SECRETS, namespace, secret)).get("data", {})
    except NotFound:
        return await _new_authority(client, namespace, secret, now)
    try:
        return Authority.load(base64.b64decode(data[CERT]), base64.b64decode(data[KEY]))
    except (KeyError, ValueError):
        raise OperatorError(
            f"Secret {secret} holds no authority (tls.crt and tls.key, P-256): delete it to have a new one made"
        ) from None


async def _new_authority(client: Client, namespace: str, secret: str, now: dt.datetime) -> Authority:
    authority = Authority.create(now)
    manifest = _secret(namespace, secret, {CERT: authority.pem, KEY: authority.key_pem})
    try:
        await client.create(SECRETS, manifest)
    except Conflict:
        return await open_authority(client, namespace, secret, now)
    return authority


def gateway_holder(namespace: str, settings: Identities) -> Holder:
    """Every gateway's certificate, which workers ask for."""
    return Holder(namespace, settings.gateway_tls_secret, GATEWAY, server=False)


def _manifest(holder: Holder, made: KeyPair, authority: Authority) -> Json:
    manifest = _secret(holder.namespace, holder.secret, {CERT: made.cert, KEY: made.key, CA: authority.pem})
    manifest["metadata"]["annotations"] = {NOT_AFTER: made.not_after.isoformat(), ISSUER: authority.fingerprint}
    if holder.owner:
        manifest["metadata"]["ownerReferences"] = [dict(holder.owner)]
    return manifest


def _secret(namespace: str, name: str, data: Mapping[str, bytes]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {labels.NAME: "stoker", labels.MANAGED_BY: labels.MANAGER},
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }

"""From credentials to a Principal."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from stoker_core.principals import LOCAL, Principal, Scope
from stoker_gateway import keys
from stoker_gateway.errors import Forbidden, SettingsError, Unauthorized

RELOAD_PERIOD_S = 2.0


class Authenticator:
    """Owns the key ring of a process; without a file of keys everybody is LOCAL."""

    def __init__(self, path: Path | None) -> None:
        """Raises SettingsError for a missing or broken file."""
        self._path = path
        self._ring = keys.KeyRing.of(keys.load(path).keys) if path else None
        self._stamp = _stamp(path)

    def principal(self, header: Callable[[bytes], bytes | None]) -> Principal:
        """Who asks, by a look-up of request headers. Raises Unauthorized, Forbidden."""
        if self._ring is None:
            return LOCAL
        return authenticate(self._ring, header(b"authorization"), header(b"x-api-key"))

    async def watch(self) -> None:
        """Take up changes of the file until cancelled; a broken file leaves the last ring in force."""
        while self._path:
            await asyncio.sleep(RELOAD_PERIOD_S)
            self.reload()

    def reload(self) -> None:
        """Read the file again if it has changed."""
        stamp = _stamp(self._path)
        if self._path is None or stamp in (self._stamp, None):
            return
        try:
            self._ring = keys.KeyRing.of(keys.load(self._path).keys)
        except SettingsError:
            return
        self._stamp = stamp


def authenticate(ring: keys.KeyRing, authorization: bytes | None, api_key: bytes | None) -> Principal:
    """Find the key's principal. Raises Forbidden, and Unauthorized without a hint whether the key ever existed."""
    key = api_key
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized("Send the API key as `Authorization: Bearer <key>`.")
    if not key:
        raise Unauthorized("No API key was sent. Send it as `Authorization: Bearer <key>`.")
    principal = ring.find(sha256(key.strip()).digest())
    if principal is None:
        raise Unauthorized("The API key is not known here or was revoked. Check it, or ask for a new one.")
    if Scope.INFERENCE not in principal.scopes:
        raise Forbidden("This API key may not run models. Use one that has the scope `inference`.")
    return principal


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino, status.st_size) if status else None

"""Workers named in a file: those of another cluster or region, for example. Read again when it changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from stoker_gateway.errors import SettingsError
from stoker_gateway.workers.target import Target

POLL_S = 2.0

log = logging.getLogger(__name__)


class _Entry(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    address: str
    model: str = ""
    identity: str = ""
    deployment_uid: str = ""
    generation: int = 0
    region: str = ""
    pool: str = ""
    tier: str = ""


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    endpoints: list[_Entry]


def read(path: Path) -> tuple[Target, ...]:
    """The workers of a file: {"endpoints": [{"address": "host:port", "region": …, "model": …}]}. Raises SettingsError."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except OSError as error:
        raise SettingsError(f"--endpoints-file: {path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise SettingsError(f"--endpoints-file: {path}: {error}") from None
    return tuple(
        Target(e.address, e.identity, e.model, e.deployment_uid, e.generation, e.region, e.pool, e.tier)
        for e in document.endpoints
    )


async def follow(path: Path, on_change: Callable[[Sequence[Target]], None]) -> None:
    """Call `on_change` with the workers of every new version, until cancelled. A version that is wrong changes nothing."""
    known = _version(path)
    while True:
        await asyncio.sleep(POLL_S)
        if (version := _version(path)) == known:
            continue
        known = version
        try:
            on_change(read(path))
        except SettingsError as error:
            log.error("%s; the workers of before stay", error)


def _version(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0, 0
    return stat.st_mtime_ns, stat.st_size, stat.st_ino

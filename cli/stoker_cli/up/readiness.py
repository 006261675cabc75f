"""Is the server ready, and if not, what does it wait for? Asked over HTTP, as anyone could."""

import asyncio
from collections.abc import Callable

import msgspec

from stoker_cli.errors import ServerFailure
from stoker_cli.http import Target, get

POLL_S = 0.1


async def until_ready(url: str, on_waiting: Callable[[str], None]) -> None:
    """Return when the gateway says that it can serve; tell `on_waiting` what it says until then."""
    target = Target.parse(url)
    while True:
        try:
            status, body = await get(target, "/ready")
        except ServerFailure:
            status, body = 0, b""
        if status == 200:
            return
        on_waiting(waiting_for(body))
        await asyncio.sleep(POLL_S)


def waiting_for(body: bytes) -> str:
    """What the gateway's answer says that it waits for: "workers: 1 connecting, 1 ready"; "" if it says nothing."""
    try:
        states = msgspec.json.decode(body, type=_NotReady).workers
    except msgspec.MsgspecError:
        return ""
    said = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    return f"workers: {said}" if said else ""


class _NotReady(msgspec.Struct):
    workers: dict[str, int]

"""Is the server ready, and if not, what does it wait for? Asked over HTTP, as anyone could."""

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec

from stoker_cli.errors import ServerFailure
from stoker_cli.http import Target, get

POLL_S = 0.1


class _Engine(msgspec.Struct):
    state: str


class _Answer(msgspec.Struct):
    workers: dict[str, int] = {}
    engines: tuple[_Engine, ...] = ()


async def until_ready(url: str, workers: int, on_waiting: Callable[[str], None]) -> None:
    """Return when the gateway has heard from `workers` engines that are ready; tell `on_waiting` how far it is."""
    target = Target.parse(url)
    while True:
        try:
            _, body = await get(target, "/ready")
        except ServerFailure:
            body = b""
        if ready_engines(body) >= workers:
            return
        on_waiting(waiting_for(body))
        await asyncio.sleep(POLL_S)


def ready_engines(body: bytes) -> int:
    """How many engines the gateway's answer says are ready."""
    return sum(engine.state == "ready" for engine in _read(body).engines)


def waiting_for(body: bytes) -> str:
    """What the gateway's answer says that it waits for: "1 engine starting", "1 worker connecting"; "" if nothing."""
    answer = _read(body)
    if answer.engines:
        counted = Counter(engine.state for engine in answer.engines)
        return ", ".join(f"{count} {_plural('engine', count)} {state}" for state, count in counted.items())
    return ", ".join(f"{count} {_plural('worker', count)} {state}" for state, count in answer.workers.items() if count)


def _read(body: bytes) -> _Answer:
    try:
        return msgspec.json.decode(body, type=_Answer)
    except msgspec.MsgspecError:
        return _Answer()


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"

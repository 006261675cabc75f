"""A benchmark as a value: what to send, how hard, for how long; and the run of it."""

import platform
import time
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from stoker_cli import http
from stoker_cli.bench.load import Closed, Extent, LevelRun, OnTiming, Open, calibrated
from stoker_cli.bench.prompts import PromptMaker
from stoker_cli.bench.results import Level, Timing
from stoker_cli.bench.stream import Api, error_message
from stoker_cli.errors import BadInput, ServerFailure

# Prompt numbers of different levels must not meet: a prompt that was sent before is found in a prefix cache.
LEVEL_STRIDE = 1_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole benchmark.

    requests       per level; None: as many as three rounds of the level's concurrency, or `duration_s` decides
    warmup         requests before the first level that are not counted
    """

    levels: tuple[Closed | Open, ...]
    input_tokens: int = 128
    output_tokens: int = 128
    requests: int | None = None
    duration_s: float | None = None
    warmup: int = 1

    def extent(self, load: Closed | Open) -> Extent:
        """When `load` is over."""
        if self.requests is None and self.duration_s is None:
            return Extent(requests=3 * load.concurrency if isinstance(load, Closed) else round(30 * load.per_s) or 1)
        return Extent(self.requests, self.duration_s)


@dataclass(frozen=True, slots=True)
class Report:
    """What a benchmark found, with what is needed to repeat it."""

    url: str
    model: str
    settings: dict[str, Any]
    levels: tuple[Level, ...]
    began_unix_s: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for a file."""
        return {**asdict(self), "machine": platform.platform(), "python": platform.python_version()}


class Progress:
    """What a run tells its watcher. This one tells nobody."""

    def level(self, load: Closed | Open, total: int | None) -> None:
        """A level begins; `total` requests, where that is known."""

    def timing(self, timing: Timing) -> None:
        """A request ended."""


async def run(api: Api, plan: Plan, prompts: PromptMaker, progress: Progress) -> Report:
    """Warm up, then drive each level. Raises ServerFailure if the server cannot be reached or every request fails."""
    began_unix_s = int(time.time())
    prompts = await calibrated(api, prompts)
    if plan.warmup:
        await _drive(api, plan, prompts, Closed(min(plan.warmup, 8)), Extent(plan.warmup), 0, _forget)
    levels: list[Level] = []
    for number, load in enumerate(plan.levels, 1):
        extent = plan.extent(load)
        progress.level(load, extent.requests)
        levels.append(await _drive(api, plan, prompts, load, extent, number * LEVEL_STRIDE, progress.timing))
    settings = {
        "api": str(prompts.kind),
        "input_tokens": plan.input_tokens,
        "output_tokens": plan.output_tokens,
        "fixed_length": api.fixed_length,
        "shared_prefix_tokens": prompts.shared_tokens,
        "seed": prompts.seed,
    }
    return Report(api.target.url, api.model, settings, tuple(levels), began_unix_s)


async def _drive(
    api: Api, plan: Plan, prompts: PromptMaker, load: Closed | Open, extent: Extent, first: int, on_timing: OnTiming
) -> Level:
    try:
        level = await LevelRun(api, prompts, extent, plan.output_tokens, first, on_timing).drive(load)
    except BaseExceptionGroup as failures:
        raise _server_failure(failures) from None
    if level.requests and sum(level.errors.values()) == level.requests:
        raise ServerFailure(f"every request to {api.target.url} failed: {next(iter(level.errors))}")
    return level


def _server_failure(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of the server among what went wrong; all of it if there is none."""
    ours = failures.subgroup(ServerFailure)
    first: BaseException = ours or failures
    while ours and isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _forget(_timing: Timing) -> None:
    """Warming up is not measured."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: tuple[_Model, ...]


async def first_model(target: http.Target, key: str | None) -> str:
    """The id of the first model that the server lists. Raises ServerFailure, BadInput if it lists none."""
    status, body = await http.get(target, "/models", key)
    if status != 200:
        raise ServerFailure(f"{target.url}/models answered HTTP {status}: {error_message(body)}")
    try:
        models = msgspec.json.decode(body, type=_Models).data
    except msgspec.MsgspecError:
        raise BadInput(
            f"{target.url} does not look like an OpenAI-compatible API; its URL usually ends in /v1"
        ) from None
    if not models:
        raise BadInput(f"{target.url} serves no model yet; give one with --model")
    return models[0].id

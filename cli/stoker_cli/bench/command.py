"""The `bench` verb: from options to a table, a JSON file and a picture."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from stoker_cli import console
from stoker_cli.bench import picture, report
from stoker_cli.bench.load import Closed, Open
from stoker_cli.bench.plan import Plan, Progress, Report, first_model, run
from stoker_cli.bench.prompts import PromptKind, PromptMaker
from stoker_cli.bench.results import Timing
from stoker_cli.bench.stream import Api
from stoker_cli.errors import BadInput
from stoker_cli.http import Target, check_key

DEFAULT_URL = "http://127.0.0.1:8000/v1"


class ApiName(StrEnum):
    """The endpoint to drive."""

    CHAT = "chat"
    COMPLETIONS = "completions"


class PromptName(StrEnum):
    """How a completions prompt is written."""

    TOKENS = "tokens"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files to write besides the table."""

    json: Path | None
    picture: Path | None


def bench(
    url: Annotated[str, typer.Option(help="base URL of any OpenAI-compatible API")] = DEFAULT_URL,
    model: Annotated[str | None, typer.Option(help="model id  [default: the first that is listed]")] = None,
    concurrency: Annotated[str, typer.Option(help="requests kept in flight, one level each")] = "1,8,32",
    request_rate: Annotated[
        str | None, typer.Option(help="arrivals per second (Poisson), one level each, instead of --concurrency")
    ] = None,
    input_tokens: Annotated[int, typer.Option(min=1, help="tokens of a prompt")] = 128,
    output_tokens: Annotated[int, typer.Option(min=1, help="tokens of an answer")] = 128,
    requests: Annotated[int | None, typer.Option(min=1, help="requests per level  [default: 3 × concurrency]")] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="send for so many seconds per level")] = None,
    api: Annotated[ApiName, typer.Option(help="endpoint")] = ApiName.COMPLETIONS,
    prompt: Annotated[PromptName, typer.Option(help="prompts of completions")] = PromptName.TOKENS,
    ignore_eos: Annotated[
        bool, typer.Option(help="ask for answers of exactly --output-tokens (ignore_eos, min_tokens)")
    ] = True,
    shared_prefix: Annotated[int, typer.Option(min=0, help="tokens that all prompts begin with")] = 0,
    seed: Annotated[int, typer.Option(help="another seed, other prompts")] = 0,
    warmup: Annotated[int, typer.Option(min=0, help="requests before measuring")] = 2,
    key: Annotated[str | None, typer.Option(envvar="STOKER_API_KEY", help="API key")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures to this file")] = None,
    picture_file: Annotated[Path | None, typer.Option("--picture", help="draw them into this PNG file")] = None,
) -> None:
    """Measure a server: time to first token, inter-token latency, throughput."""
    plan = Plan(_levels(concurrency, request_rate), input_tokens, output_tokens, requests, duration, warmup)
    kind = PromptKind.CHAT if api is ApiName.CHAT else PromptKind(prompt.value)
    prompts = PromptMaker(kind, input_tokens, seed, shared_prefix)
    outputs = Outputs(_writable(json_file), _writable(picture_file))
    target = Target.parse(url)

    async def measure() -> Report:
        name = model or await first_model(target, key)
        with watching(console.stderr()) as progress:
            return await run(Api(target, name, kind, check_key(key), ignore_eos), plan, prompts, progress)

    with _quick_interrupt():
        _show(asyncio.run(measure()), outputs)


def _show(found: Report, outputs: Outputs) -> None:
    out = console.stdout()
    out.print(report.table(found))
    for note in report.footnotes(found):
        out.print(f"  {note}", markup=False)
    if outputs.json:
        outputs.json.write_text(json.dumps(found.to_json(), indent=2) + "\n")
    if outputs.picture:
        picture.draw(found, outputs.picture)


def _levels(concurrency: str, request_rate: str | None) -> tuple[Closed | Open, ...]:
    try:
        if request_rate is not None:
            levels: tuple[Closed | Open, ...] = tuple(Open(float(part)) for part in request_rate.split(","))
            good = all(0 < level.per_s < float("inf") for level in levels if isinstance(level, Open))
        else:
            levels = tuple(Closed(int(part)) for part in concurrency.split(","))
            good = all(0 < level.concurrency <= 10_000 for level in levels if isinstance(level, Closed))
    except ValueError:
        good = False
    if not good:
        name = "--request-rate" if request_rate is not None else "--concurrency"
        raise BadInput(f"{name} takes positive numbers separated by commas, like 1,8,32")
    return levels


def _writable(path: Path | None) -> Path | None:
    """`path`, if a file can be there: better to know before the work than after it."""
    if path is not None and not path.absolute().parent.is_dir():
        raise BadInput(f"cannot write {path}: the folder {path.absolute().parent} does not exist")
    return path


class _Bars(Progress):
    """Progress as a bar on a terminal, or as a line per level."""

    def __init__(self, out: Console, bars: Bars) -> None:
        self._out = out
        self._bars = bars
        self._task: TaskID | None = None

    def level(self, load: Closed | Open, total: int | None) -> None:
        if not self._out.is_terminal:
            self._out.print(f"measuring {load} …")
        self._task = self._bars.add_task(str(load), total=total)

    def timing(self, timing: Timing) -> None:
        if self._task is not None:
            self._bars.advance(self._task)


@contextmanager
def watching(out: Console) -> Iterator[Progress]:
    """Show the progress of a run while it lasts."""
    columns = (TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=out, disable=not out.is_terminal, refresh_per_second=2) as bars:
        yield _Bars(out, bars)


@contextmanager
def _quick_interrupt() -> Iterator[None]:
    """Ctrl-C ends a benchmark at once: there is nothing to save."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

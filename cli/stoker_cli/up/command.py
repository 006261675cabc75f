"""The `up` verb."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stoker_cli import console, settings
from stoker_cli.up.assembly import EMBEDDED, assemble
from stoker_cli.up.child import Log
from stoker_cli.up.model import ServedModel, check_path, serve_as
from stoker_cli.up.options import UpOptions, check_exposure, free_port
from stoker_cli.up.plan import plan
from stoker_cli.up.readiness import until_ready
from stoker_cli.up.statedir import locked, rotate, run_folder
from stoker_cli.up.supervisor import Supervisor
from stoker_cli.up.view import View


class Precision(StrEnum):
    """What weights are computed in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


def up(
    model: Annotated[
        Path | None, typer.Option(help="GGUF file or Hugging Face folder  [default: SmolLM2-135M-Instruct]")
    ] = None,
    model_id: Annotated[str | None, typer.Option(help="id to serve it under  [default: from its name]")] = None,
    alias: Annotated[list[str] | None, typer.Option(help="another name for it; repeatable")] = None,
    host: Annotated[str, typer.Option(help="address to listen on; any but loopback needs --keys")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to listen on; 0: any free one")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="worker processes, which share the cores")] = 1,
    precision: Annotated[Precision, typer.Option(help="what weights are computed in")] = Precision.AUTO,
    keys: Annotated[Path | None, typer.Option(help="file of API keys; make one with `stoker keys add`")] = None,
    usage_file: Annotated[Path | None, typer.Option(help="one line per attempt  [default: in --state-dir]")] = None,
    log_file: Annotated[Path | None, typer.Option(help="what the processes say  [default: in --state-dir]")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="one `stoker up` at a time uses it")] = None,
    otlp_endpoint: Annotated[str | None, typer.Option(help="OTLP/HTTP address to send traces to")] = None,
) -> None:
    """Serve a model on this machine."""
    folders = settings.folders()
    check_exposure(host, keys)
    options = UpOptions(
        model=check_path(model) if model else None,
        model_id=model_id,
        aliases=tuple(alias or ()),
        host=host,
        port=port,
        workers=workers,
        precision=precision.value,
        keys=keys,
        usage_file=usage_file,
        log_file=log_file,
        state_dir=(state_dir or folders.state).absolute(),
        otlp_endpoint=otlp_endpoint,
    )
    asyncio.run(_serve(options, folders))


async def _serve(options: UpOptions, folders: settings.Folders) -> None:
    """The whole life of a server. Raises BadInput or ServerFailure."""
    usage_file = (options.usage_file or options.state_dir / "usage.jsonl").absolute()
    log_file = (options.log_file or options.state_dir / "stoker.log").absolute()
    with ExitStack() as stack:
        publish = stack.enter_context(locked(options.state_dir))
        options = replace(options, port=free_port(options.host, options.port))
        publish(options.url)
        rotate(log_file)
        log = Log(log_file)
        stack.callback(log.close)
        view = View(console.stdout(), console.stderr())
        stack.callback(view.close)
        served = await _choose_model(options, folders.cache, view)
        sockets = stack.enter_context(run_folder(folders.runtime))
        server = plan(options, served, sockets, usage_file, settings.usable_cores())

        def announce(message: str) -> None:
            view.announce(message)
            log.write("up", message.encode())

        supervisor = Supervisor(server, log, announce)
        stack.enter_context(stopped_by_signals(supervisor))
        await supervisor.serve(
            until_ready(options.url, options.workers, view.loading()),
            on_ready=lambda: view.ready(options, served, usage_file, log_file),
        )


async def _choose_model(options: UpOptions, cache: Path, view: View) -> ServedModel:
    model_id, aliases = serve_as(options.model, options.model_id, options.aliases)
    path = options.model or await assemble(EMBEDDED, cache, view)
    return ServedModel(path, model_id, aliases)


@contextmanager
def stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    """SIGINT and SIGTERM ask `supervisor` to stop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.ask_to_stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

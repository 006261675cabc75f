"""`python -m stoker_worker VERB`: `serve` is the gRPC front; it starts `engine`, the process that computes."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence

from stoker_worker.errors import SettingsError, WorkerError
from stoker_worker.settings import engine_arguments, parse_engine, parse_serve

EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 2 for settings or a model file that cannot work."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        if verb not in VERBS:
            raise SettingsError(f"{verb!r} is no verb of the worker; use one of: {', '.join(VERBS)}")
        return VERBS[verb](rest)
    except WorkerError as error:
        sys.stderr.write(f"stoker worker: {error}\n")
        return EXIT_BAD_INPUT


def serve(arguments: Sequence[str]) -> int:
    """The gRPC front, until SIGTERM or SIGINT."""
    from stoker_worker.service.server import serve_until_signalled

    settings, engine = parse_serve(arguments)
    _log_as("worker")
    command = [sys.executable, "-m", "stoker_worker", "engine", *engine_arguments(engine)]
    asyncio.run(serve_until_signalled(settings, engine.model_path, command))
    return 0


def engine(arguments: Sequence[str]) -> int:
    """One engine, until the front at the other end of the inherited socket goes away."""
    from stoker_worker.engine.process import main as engine_main

    descriptor, settings = parse_engine(arguments)
    _log_as("engine")
    return engine_main(socket.socket(fileno=descriptor), settings)


def _log_as(process: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {process} %(levelname)s %(message)s"
    )


VERBS: dict[str, Callable[[Sequence[str]], int]] = {"serve": serve, "engine": engine}

if __name__ == "__main__":
    sys.exit(main())

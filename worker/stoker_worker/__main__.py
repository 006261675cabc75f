"""`python -m stoker_worker VERB`: `serve` is the gRPC front; it starts `engine`, the process that computes.

`fetch` runs before them, and brings the weights.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from stoker_worker.errors import FetchInterrupted, SettingsError, WorkerError
from stoker_worker.settings import engine_arguments, parse_engine, parse_serve

EXIT_PASSING, EXIT_BAD_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 2 for what somebody must change, 1 for what may pass by itself."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        if verb not in VERBS:
            raise SettingsError(f"{verb!r} is no verb of the worker; use one of: {', '.join(VERBS)}")
        return VERBS[verb](rest)
    except WorkerError as error:
        sys.stderr.write(f"stoker worker: {error}\n")
        return EXIT_PASSING if isinstance(error, FetchInterrupted) else EXIT_BAD_INPUT


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


def fetch(arguments: Sequence[str]) -> int:
    """A model's files into a folder. The last line on stderr is what Kubernetes shows of the container."""
    from stoker_worker.fetch.command import fetch as run
    from stoker_worker.fetch.command import say_on_stderr
    from stoker_worker.fetch.settings import parse_fetch

    def stop(_number: int, _frame: FrameType | None) -> None:
        say_on_stderr("stopped; what was fetched stays, and the next start goes on from here")
        # Threads may wait for the network: nothing of theirs is worth waiting for, a part is good at any length.
        os._exit(EXIT_PASSING)

    # The first process of a container gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    say_on_stderr(run(parse_fetch(arguments, os.environ), say_on_stderr))
    return 0


def _log_as(process: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {process} %(levelname)s %(message)s"
    )


VERBS: dict[str, Callable[[Sequence[str]], int]] = {"serve": serve, "engine": engine, "fetch": fetch}

if __name__ == "__main__":
    sys.exit(main())

"""`python -m stoker_operator VERB`: `run` is the operator, `plan` shows what it would do, `crds` prints or applies its resources."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Sequence

from stoker_operator.errors import LeadershipLost, OperatorError, SettingsError, WatchesEnded
from stoker_operator.settings import parse_crds, parse_plan, parse_run

EXIT_START_ANEW, EXIT_BAD_INPUT = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 1 for what a new start mends, 2 for what cannot work."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        if verb not in VERBS:
            raise SettingsError(f"{verb!r} is no verb of the operator; use one of: {', '.join(VERBS)}")
        return VERBS[verb](rest)
    except (LeadershipLost, WatchesEnded) as error:
        sys.stderr.write(f"stoker operator: {error}\n")
        return EXIT_START_ANEW
    except OperatorError as error:
        sys.stderr.write(f"stoker operator: {error}\n")
        return EXIT_BAD_INPUT


def run(arguments: Sequence[str]) -> int:
    """The operator, until SIGTERM or SIGINT."""
    from stoker_operator.kube.access import find_access
    from stoker_operator.process import run as run_operator

    settings = parse_run(arguments, socket.gethostname())
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s operator %(levelname)s %(message)s")
    for noisy in ("kopf", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    asyncio.run(run_operator(settings, find_access(settings.kubeconfig, os.environ)))
    return 0


def plan(arguments: Sequence[str]) -> int:
    """Print what would be applied for the Deployments of some files."""
    from stoker_operator.preview import preview

    return asyncio.run(preview(parse_plan(arguments), sys.stdin, sys.stdout))


def crds(arguments: Sequence[str]) -> int:
    """Print the resources' definitions, or apply them."""
    from stoker_operator.definitions import apply_definitions, print_definitions
    from stoker_operator.kube.access import find_access

    settings = parse_crds(arguments)
    if settings.apply:
        asyncio.run(apply_definitions(find_access(settings.kubeconfig, os.environ), sys.stdout))
    else:
        print_definitions(sys.stdout)
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {"run": run, "plan": plan, "crds": crds}

if __name__ == "__main__":
    sys.exit(main())

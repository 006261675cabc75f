"""Command lines of the processes that make up a server. Pure: nothing is started here."""

import sys
from dataclasses import dataclass
from pathlib import Path

from stoker_cli.up.model import ServedModel
from stoker_cli.up.options import UpOptions


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One process. `grace_s`: how long it may take to finish after SIGTERM."""

    name: str
    command: tuple[str, ...]
    grace_s: float


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Workers start first and stop last."""

    workers: tuple[ChildPlan, ...]
    gateway: ChildPlan


GATEWAY_DRAIN_S = 20
GATEWAY_GRACE_S = GATEWAY_DRAIN_S + 5.0
WORKER_GRACE_S = 10.0


def threads_per_worker(cores: int, workers: int) -> int:
    """Engine threads of each worker: an equal share of the cores, at least one."""
    return max(1, cores // workers)


def plan(options: UpOptions, model: ServedModel, sockets: Path, usage_file: Path, cores: int) -> ServerPlan:
    """Everything to start, given where sockets go and which file usage goes to."""
    addresses = [f"unix:{sockets / f'worker-{number}.sock'}" for number in range(options.workers)]
    threads = threads_per_worker(cores, options.workers)
    return ServerPlan(
        tuple(_worker(number, address, options, model, threads) for number, address in enumerate(addresses)),
        _gateway(addresses, options, usage_file),
    )


def _worker(number: int, address: str, options: UpOptions, model: ServedModel, threads: int) -> ChildPlan:
    arguments = [
        *("--model", str(model.path)),
        *("--model-id", model.model_id),
        *(part for alias in model.aliases for part in ("--alias", alias)),
        *("--listen", address),
        *("--precision", options.precision),
        *("--threads", str(threads)),
        *_optional("--otlp-endpoint", options.otlp_endpoint),
    ]
    return ChildPlan(f"worker-{number}", _module("stoker_worker", "serve", *arguments), WORKER_GRACE_S)


def _gateway(addresses: list[str], options: UpOptions, usage_file: Path) -> ChildPlan:
    host = f"[{options.host}]" if ":" in options.host else options.host
    arguments = [
        *("--listen", f"{host}:{options.port}"),
        *(part for address in addresses for part in ("--worker", address)),
        *("--usage-file", str(usage_file)),
        *("--drain-timeout", str(GATEWAY_DRAIN_S)),
        *_optional("--keys", options.keys),
        *_optional("--otlp-endpoint", options.otlp_endpoint),
    ]
    return ChildPlan("gateway", _module("stoker_gateway", "serve", *arguments), GATEWAY_GRACE_S)


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


def _optional(option: str, value: str | Path | None) -> tuple[str, ...]:
    return (option, str(value)) if value else ()

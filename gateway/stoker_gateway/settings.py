"""What a gateway process can be told, read once from its arguments and environment."""

import argparse
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from stoker_core.api_server import IN_CLUSTER, Access, AccessError, of_kubeconfig, of_pod
from stoker_gateway.errors import SettingsError
from stoker_gateway.rpc.tls import TlsFiles

ENV_PREFIX = "STOKER_GATEWAY_"


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything inside a request is bounded; these are the bounds."""

    max_body_bytes: int = 16 * 1024 * 1024
    max_concurrent: int = 4096  # requests in the process, beyond it 429
    max_held: int = 1024  # requests that wait for a worker, beyond it 429
    receive_timeout_s: float = 60.0  # a request, head and body, from its first byte to its last
    hold_timeout_s: float = 30.0  # how long such a request waits before 503
    request_timeout_s: float = 600.0
    heartbeat_timeout_s: float = 10.0  # a worker that is silent for so long is lost; it speaks every second
    drain_timeout_s: float = 30.0  # how long a stopping process lets requests finish


@dataclass(frozen=True, slots=True)
class Settings:
    """A gateway process. Paths and addresses are as given; only the way to an API server is looked up here."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: tuple[str, ...] = ()  # "unix:PATH" or "host:port"
    endpoints_file: Path | None = None  # further workers, read again when it changes
    api_server: Access | None = None  # of the cluster whose models, deployments and workers are watched
    operator: str = ""  # "host:port": is told how many requests want which deployment
    tls: TlsFiles | None = None  # for workers at host:port, and the operator
    keys_file: Path | None = None
    usage_file: Path | None = None
    salt_secret_file: Path | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)  # alias → model id
    region: str = ""
    otlp_endpoint: str = ""
    limits: Limits = field(default_factory=Limits)

    @property
    def loopback(self) -> bool:
        """Only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class _Option:
    name: str
    parse: Callable[[str], Any]
    help: str
    metavar: str
    repeat: bool = False


def _listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"--listen takes host:port, not {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def _address(text: str) -> str:
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text
    host, colon, port = text.rpartition(":")
    if host and colon and port.isdigit():
        return text
    raise SettingsError(f"an address is unix:PATH or host:port, not {text!r}")


def _alias(text: str) -> tuple[str, str]:
    alias, equals, model = text.partition("=")
    if not (alias and equals and model):
        raise SettingsError(f"--alias takes name=model, not {text!r}")
    return alias, model


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"a whole number from 1 is needed, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise SettingsError(f"a positive number of seconds is needed, not {text!r}")
    return value


OPTIONS = (
    _Option("listen", _listen, "address to serve HTTP on (default 127.0.0.1:8000)", "HOST:PORT"),
    _Option("worker", _address, "a worker's address; repeatable", "ADDRESS", repeat=True),
    _Option("kubernetes", str, "watch a cluster's deployments: in-cluster, or a kubeconfig", "WHERE"),
    _Option("operator", _address, "the operator's address, to tell it of demand", "HOST:PORT"),
    _Option("endpoints-file", Path, "further workers, as JSON; read again when it changes", "FILE"),
    _Option("tls-cert", Path, "certificate shown to workers", "FILE"),
    _Option("tls-key", Path, "its key", "FILE"),
    _Option("tls-ca", Path, "authority that signs workers' certificates", "FILE"),
    _Option("keys", Path, "file of API keys (see `keys add`); needed on any address but loopback", "FILE"),
    _Option("usage-file", Path, "append one JSON line per attempt to this file", "FILE"),
    _Option("alias", _alias, "another name for a model; repeatable", "NAME=MODEL", repeat=True),
    _Option("region", str, "this gateway's region; its workers are preferred", "NAME"),
    _Option("otlp-endpoint", str, "OTLP/HTTP address to send traces to", "URL"),
    _Option("salt-secret-file", Path, "secret that gateways share so that they share prefix caches", "FILE"),
    _Option("max-body-bytes", _count, "largest request body", "N"),
    _Option("max-concurrent", _count, "requests in the process at once", "N"),
    _Option("max-held", _count, "requests that may wait for a worker", "N"),
    _Option("receive-timeout", _seconds, "how long a client may take to send a request", "SECONDS"),
    _Option("hold-timeout", _seconds, "how long they wait", "SECONDS"),
    _Option("request-timeout", _seconds, "longest life of a request", "SECONDS"),
    _Option("heartbeat-timeout", _seconds, "silence after which a worker is lost", "SECONDS"),
    _Option("drain-timeout", _seconds, "how long a stopping gateway lets requests finish", "SECONDS"),
)

_LIMIT_FIELDS = {
    "max-body-bytes": "max_body_bytes",
    "max-concurrent": "max_concurrent",
    "max-held": "max_held",
    "receive-timeout": "receive_timeout_s",
    "hold-timeout": "hold_timeout_s",
    "request-timeout": "request_timeout_s",
    "heartbeat-timeout": "heartbeat_timeout_s",
    "drain-timeout": "drain_timeout_s",
}


class Parser(argparse.ArgumentParser):
    """argparse that raises SettingsError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Raise SettingsError."""
        raise SettingsError(message)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of `serve`."""
    for option in OPTIONS:
        parser.add_argument(
            f"--{option.name}", metavar=option.metavar, help=option.help, action="append" if option.repeat else "store"
        )


def parse(arguments: Mapping[str, str | list[str] | None], env: Mapping[str, str]) -> Settings:
    """Settings from parsed arguments (by argparse's names) and environment; an argument wins.

    Every option is also a variable, `STOKER_GATEWAY_MAX_HELD` for --max-held; repeatable ones are separated by commas.
    Raises SettingsError for anything unknown or impossible.
    """
    known = {_variable(option): option for option in OPTIONS}
    unknown = sorted(name for name in env if name.startswith(ENV_PREFIX) and name not in known)
    if unknown:
        raise SettingsError(f"unknown setting {unknown[0]}; known: {', '.join(sorted(known))}")
    values = {option.name: _value(option, arguments, env) for option in OPTIONS}
    return _build(values, _api_server(values["kubernetes"] or "", env))


def _variable(option: _Option) -> str:
    return ENV_PREFIX + option.name.upper().replace("-", "_")


def _value(option: _Option, arguments: Mapping[str, str | list[str] | None], env: Mapping[str, str]) -> Any:
    given = arguments.get(option.name.replace("-", "_"))
    if given is None:
        text = env.get(_variable(option), "")
        given = [item for item in text.split(",") if item] if option.repeat else text or None
    if option.repeat:
        return tuple(option.parse(item) for item in given or ())
    return option.parse(given) if isinstance(given, str) else None


def _build(values: Mapping[str, Any], api_server: Access | None) -> Settings:
    limits = {field_: values[name] for name, field_ in _LIMIT_FIELDS.items() if values[name] is not None}
    host, port = values["listen"] or ("127.0.0.1", 8000)
    settings = Settings(
        host=host,
        port=port,
        workers=values["worker"],
        endpoints_file=values["endpoints-file"],
        api_server=api_server,
        operator=values["operator"] or "",
        tls=_tls(values),
        keys_file=values["keys"],
        usage_file=values["usage-file"],
        salt_secret_file=values["salt-secret-file"],
        aliases=dict(values["alias"]),
        region=values["region"] or "",
        otlp_endpoint=values["otlp-endpoint"] or "",
        limits=Limits(**limits),
    )
    _check(settings)
    return settings


def _api_server(where: str, env: Mapping[str, str]) -> Access | None:
    if not where:
        return None
    try:
        if where == IN_CLUSTER:
            return of_pod(env)
        import yaml

        path = Path(where)
        return of_kubeconfig(yaml.safe_load(path.read_text()), path.parent)
    except OSError as error:
        raise SettingsError(f"--kubernetes: {where}: {error.strerror}") from None
    except (AccessError, ValueError) as error:  # yaml's errors are ValueErrors
        raise SettingsError(f"--kubernetes: {where}: {error}") from None


def _tls(values: Mapping[str, Any]) -> TlsFiles | None:
    files = [values["tls-cert"], values["tls-key"], values["tls-ca"]]
    if not any(files):
        return None
    if not all(files):
        raise SettingsError("--tls-cert, --tls-key and --tls-ca belong together: give all three")
    return TlsFiles(*files)


def _check(settings: Settings) -> None:
    if not (settings.workers or settings.api_server or settings.endpoints_file):
        raise SettingsError("no worker to send requests to: give at least one --worker, or --kubernetes")
    if settings.operator and settings.api_server is None:
        raise SettingsError("--operator needs --kubernetes: demand is for a cluster's deployments")
    if settings.api_server and settings.tls is None:
        raise SettingsError("a cluster's workers want a certificate: give --tls-cert, --tls-key and --tls-ca")
    if len(set(settings.workers)) < len(settings.workers):
        raise SettingsError("a --worker is given twice")
    if not settings.loopback and settings.keys_file is None:
        raise SettingsError(
            f"{settings.host} is no loopback address: anyone who reaches it could use the models. "
            "Give --keys FILE (make one with `keys add`), or listen on 127.0.0.1."
        )

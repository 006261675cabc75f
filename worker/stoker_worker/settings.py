"""What a worker can be told: parsed once from the command line, checked, and passed down as frozen values."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from uuid import uuid4

from stoker_core.blocks import CHAIN_UNIT
from stoker_worker.errors import SettingsError
from stoker_worker.options import Option, one_of, parsed, required, seconds, whole

PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "native", "torch")
MAX_UNIX_PATH_BYTES = 107  # what fits the kernel's sockaddr_un


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One engine process.

    device               native (no torch), torch, or auto: native where it serves
    threads              CPU threads of the computation; 0: all cores
    kv_tokens            tokens of KV cache; 0: by free memory
    block_size           tokens of a KV block, a multiple of the prefix chain's unit
    max_batch_tokens     tokens of one step
    max_batch_sequences  sequences of one step
    max_context          tokens of prompt and output together; 0: what the model was made for
    """

    model_path: Path
    precision: str = "auto"
    device: str = "auto"
    threads: int = 0
    kv_tokens: int = 0
    block_size: int = 16
    max_batch_tokens: int = 512
    max_batch_sequences: int = 64
    prefix_cache: bool = True
    max_context: int = 0

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.block_size % CHAIN_UNIT:
            raise SettingsError(f"--block-size is {self.block_size}; it must be a multiple of {CHAIN_UNIT}")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for mutual TLS, PEM. `ca` signs the peers that may connect."""

    cert: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a Unix socket's path, or a TCP host and port. Exactly one of `path` and `host` is set."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read "unix:PATH" or "host:port". Raises SettingsError."""
        if text.startswith("unix:"):
            return cls._unix(Path(text.removeprefix("unix:")))
        host, colon, port = text.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) <= 65535):
            raise SettingsError(f"{text!r} is no address; write unix:PATH or HOST:PORT")
        return cls(host=host.strip("[]"), port=int(port))

    @classmethod
    def _unix(cls, path: Path) -> "Address":
        if path == Path():
            raise SettingsError("unix: names no socket; write unix:PATH")
        path = path.absolute()
        if len(str(path).encode()) > MAX_UNIX_PATH_BYTES:
            raise SettingsError(f"{path} is too long for a socket: give a path of at most {MAX_UNIX_PATH_BYTES} bytes")
        return cls(path=path)

    @property
    def is_local(self) -> bool:
        """Nobody from another machine can connect."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """The form that gRPC takes."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The gRPC front process.

    health_listen    a further address that serves the health protocol alone, without TLS, for a kubelet
    metrics_listen   HTTP address of Prometheus metrics; they hold no prompts, outputs or names of accounts
    max_queue        accepted requests that have not ended
    drain_timeout_s  how long a stopping worker lets requests finish
    """

    listen: Address
    model_id: str
    aliases: tuple[str, ...] = ()
    health_listen: Address | None = None
    metrics_listen: Address | None = None
    tls: Tls | None = None
    region: str = ""
    pool: str = ""
    tier: str = ""
    deployment_uid: str = ""
    instance: str = ""
    max_queue: int = 1024
    drain_timeout_s: float = 30.0
    otlp_endpoint: str = ""

    def __post_init__(self) -> None:
        if not self.listen.is_local and self.tls is None:
            raise SettingsError(
                f"{self.listen} can be reached from other machines: give --tls-cert, --tls-key and --tls-ca, "
                "or listen on 127.0.0.1 or a Unix socket"
            )
        if self.metrics_listen and self.metrics_listen.path:
            raise SettingsError("--metrics-listen takes HOST:PORT")


MODEL = Option("model", Path, "PATH", "a GGUF file or a Hugging Face folder")
ENGINE_OPTIONS = (
    Option("precision", one_of(PRECISIONS), "|".join(PRECISIONS), "of weights and KV"),
    Option(
        "device", one_of(DEVICES), "|".join(DEVICES), "what computes; auto: native code where it serves, else torch"
    ),
    Option("threads", whole(0), "N", "CPU threads of the computation; 0: all cores"),
    Option("kv_tokens", whole(0), "N", "tokens of KV cache; 0: by free memory"),
    Option("block_size", whole(1), "N", f"tokens of a KV block, a multiple of {CHAIN_UNIT}"),
    Option("max_batch_tokens", whole(1), "N", "tokens of one step"),
    Option("max_batch_sequences", whole(1), "N", "sequences of one step"),
    Option("max_context", whole(0), "N", "tokens of prompt and output together; 0: the model's own"),
)
PREFIX_CACHE = Option("prefix_cache", str, "", "share KV of equal prefixes", switch=True)
WORKER_OPTIONS = (
    Option("listen", Address.parse, "ADDRESS", "unix:PATH or HOST:PORT to serve gRPC on"),
    Option("health_listen", Address.parse, "ADDRESS", "a further address for the gRPC health protocol, without TLS"),
    Option("metrics_listen", Address.parse, "HOST:PORT", "serve Prometheus metrics over HTTP here"),
    Option("model_id", str, "ID", "the model's name (default: accounts/local/models/ and the file's name)"),
    Option("alias", str, "NAME", "another name for the model; repeatable (default: the id's last part)", repeat=True),
    Option("region", str, "NAME", "where this worker runs"),
    Option("pool", str, "NAME", "the pool of machines it runs in"),
    Option("tier", str, "NAME", "the tier of its Deployment"),
    Option("deployment_uid", str, "UID", "the Deployment it belongs to"),
    Option("instance", str, "ID", "names this process (default: random)"),
    Option("max_queue", whole(1), "N", "accepted requests that have not ended; more are refused"),
    Option("drain_timeout_s", seconds, "SECONDS", "how long a stopping worker lets requests finish"),
    Option("otlp_endpoint", str, "URL", "OTLP/HTTP address to send traces to"),
    Option("tls_cert", Path, "FILE", "this worker's certificate chain, PEM"),
    Option("tls_key", Path, "FILE", "its private key, PEM"),
    Option("tls_ca", Path, "FILE", "the authority whose certificates may connect, PEM"),
)


def parse_serve(arguments: Sequence[str]) -> tuple[WorkerSettings, EngineSettings]:
    """Settings of the verb `serve`. Raises SettingsError."""
    options = (MODEL, *WORKER_OPTIONS, *ENGINE_OPTIONS, PREFIX_CACHE)
    given = parsed("serve", "Serve one model over gRPC.", options, arguments)
    engine = _engine_settings(given)
    return _worker_settings(given, engine.model_path), engine


def parse_engine(arguments: Sequence[str]) -> tuple[int, EngineSettings]:
    """The inherited socket's descriptor and the settings of the verb `engine`. Raises SettingsError."""
    options = (MODEL, Option("fd", whole(0), "N", "the inherited socket to the front"), *ENGINE_OPTIONS, PREFIX_CACHE)
    given = parsed("engine", "Run one engine; only `serve` starts it.", options, arguments)
    return int(required(given, "fd")), _engine_settings(given)


def engine_arguments(settings: EngineSettings) -> list[str]:
    """The command line that `parse_engine` reads back; the descriptor is added by whoever starts the process."""
    arguments = [MODEL.flag, str(settings.model_path)]
    for option in ENGINE_OPTIONS:
        arguments += [option.flag, str(getattr(settings, option.field))]
    return [*arguments, "--prefix-cache" if settings.prefix_cache else "--no-prefix-cache"]


def _engine_settings(given: Mapping[str, Any]) -> EngineSettings:
    known = {field.name for field in fields(EngineSettings)}
    return EngineSettings(
        model_path=required(given, "model"), **{name: value for name, value in given.items() if name in known}
    )


def _worker_settings(given: Mapping[str, Any], model_path: Path) -> WorkerSettings:
    known = {field.name for field in fields(WorkerSettings)}
    values = {name: value for name, value in given.items() if name in known}
    values.setdefault("model_id", derived_model_id(model_path))
    values.setdefault("instance", uuid4().hex)
    required(given, "listen")
    if "@" in values["model_id"] or not values["model_id"]:
        raise SettingsError(
            f"--model-id {values['model_id']!r} must not be empty or contain @: that begins the revision"
        )
    return WorkerSettings(
        aliases=tuple(given.get("alias", [values["model_id"].rpartition("/")[2]])), tls=_tls(given), **values
    )


def _tls(given: Mapping[str, Any]) -> Tls | None:
    files = {name: given[f"tls_{name}"] for name in ("cert", "key", "ca") if f"tls_{name}" in given}
    if not files:
        return None
    if len(files) < 3:
        raise SettingsError("mutual TLS needs all of --tls-cert, --tls-key and --tls-ca")
    for path in files.values():
        if not path.is_file():
            raise SettingsError(f"{path} does not exist; give a PEM file")
    return Tls(**files)


def derived_model_id(path: Path) -> str:
    """A model id from a file's or folder's name: lower case, other signs than letters, digits, ".", "_" become "-"."""
    name = path.stem if path.suffix == ".gguf" else path.absolute().name
    slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")
    return f"accounts/local/models/{slug or 'model'}"

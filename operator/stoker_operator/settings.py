"""What an operator can be told: parsed once from the command line, checked, and passed down as frozen values."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from stoker_operator.errors import SettingsError

T = TypeVar("T")
CPU_IMAGE = "cpu"
PULL_POLICIES = ("IfNotPresent", "Always", "Never")
_OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_URL = re.compile(r"https?://[^\s/]+\S*")


@dataclass(frozen=True, slots=True)
class Workers:
    """What every worker pod is made with.

    images           by what a pool counts: "cpu", or the extended resource, nvidia.com/gpu for example
    hf_endpoint      where hf:// sources are fetched from; "": the fetcher's own default
    s3_endpoint      where s3:// sources are fetched from; "": the fetcher's own default
    drain_timeout_s  how long a stopping worker lets requests finish; everything about stopping derives from it
    """

    images: Mapping[str, str]
    image_pull_policy: str = "IfNotPresent"
    hf_endpoint: str = ""
    s3_endpoint: str = ""
    drain_timeout_s: int = 60


@dataclass(frozen=True, slots=True)
class Identities:
    """Certificates: where they are kept, and how long they last.

    pki_secret          in the operator's namespace: the authority's certificate and key
    gateway_tls_secret  in the operator's namespace: what gateways show to workers
    certificate_days    life of a worker's or gateway's certificate; renewed when a third is left
    """

    pki_secret: str = "stoker-pki"  # noqa: S105 - a name
    gateway_tls_secret: str = "stoker-gateway-tls"  # noqa: S105
    certificate_days: int = 90


@dataclass(frozen=True, slots=True)
class Leadership:
    """One operator of several acts: the one that holds the Lease.

    lease_name        of the Lease, in the operator's namespace
    lease_duration_s  a holder that is silent for so long has lost it
    """

    lease_name: str = "stoker-operator"
    lease_duration_s: int = 10


@dataclass(frozen=True, slots=True)
class Watching:
    """How events reach us.

    server_timeout_s      the API server ends each watch after so long
    inactivity_timeout_s  a watch without an event for so long is opened anew; the API server sends one each minute
    resync_s              everything is listed, compared with what the watches brought, and reconciled so often
    """

    server_timeout_s: int = 300
    inactivity_timeout_s: int = 75
    resync_s: int = 600


@dataclass(frozen=True, slots=True)
class Settings:
    """An operator process.

    namespace      its own: the Lease, the authority and the gateways' certificate are there
    identity       names this process, in the Lease and in Events
    kubeconfig     how to reach the API server; None: as a pod does
    listen         (host, port) of /healthz, /readyz and /metrics
    demand_listen  (host, port) where gateways tell of requests, while this process leads
    concurrency    reconciles at once
    """

    namespace: str
    identity: str
    workers: Workers
    kubeconfig: Path | None = None
    listen: tuple[str, int] = ("0.0.0.0", 8080)
    demand_listen: tuple[str, int] = ("0.0.0.0", 8444)
    concurrency: int = 16
    identities: Identities = field(default_factory=Identities)
    leadership: Leadership = field(default_factory=Leadership)
    watching: Watching = field(default_factory=Watching)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """Of the verb `plan`. `files`: manifests; "-" is the standard input."""

    files: tuple[Path, ...]
    kubeconfig: Path | None
    namespace: str
    workers: Workers


@dataclass(frozen=True, slots=True)
class CrdsSettings:
    """Of the verb `crds`. Without `apply`, they are printed."""

    apply: bool
    kubeconfig: Path | None


@dataclass(frozen=True, slots=True)
class _Option:
    """`field` is a settings' field; the option has dashes and no unit."""

    field: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    repeat: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.field.removesuffix("_s").replace("_", "-")


def _whole(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise SettingsError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return parse


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise SettingsError(f"{text!r} is not one of {', '.join(choices)}")
        return text

    return parse


def _name(text: str) -> str:
    if not _OBJECT_NAME.fullmatch(text):
        raise SettingsError(f"{text!r} is no name that Kubernetes takes")
    return text


def _text(text: str) -> str:
    if not text.strip():
        raise SettingsError("it is empty")
    return text


def _url(text: str) -> str:
    if not _URL.fullmatch(text):
        raise SettingsError(f"{text!r} is no http:// or https:// address")
    return text


def _listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdecimal() and int(port) <= 65535):
        raise SettingsError(f"{text!r} is no address; write HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)


def _image(text: str) -> tuple[str, str]:
    kind, equals, image = text.partition("=")
    if not (kind and equals and image.strip()):
        raise SettingsError(f"{text!r}: write cpu=IMAGE, or the accelerators' resource, nvidia.com/gpu=IMAGE")
    return kind, image


KUBECONFIG = _Option("kubeconfig", Path, "FILE", "how to reach the API server (default: as a pod does)")
WORKER_OPTIONS = (
    _Option("worker_image", _image, "KIND=IMAGE", "workers' image by what a pool counts; repeatable", repeat=True),
    _Option("image_pull_policy", _one_of(PULL_POLICIES), "|".join(PULL_POLICIES), "of workers (default: IfNotPresent)"),
    _Option("hf_endpoint", _url, "URL", "where hf:// sources are fetched from"),
    _Option("s3_endpoint", _url, "URL", "where s3:// sources are fetched from"),
    _Option("drain_timeout_s", _whole(1, 86_400), "SECONDS", "how long a stopping worker lets requests finish (60)"),
)
RUN_OPTIONS = (
    _Option("namespace", _name, "NAME", "the operator's own namespace"),
    _Option("identity", _text, "NAME", "names this process: the pod's name (default: the host's)"),
    KUBECONFIG,
    _Option("listen", _listen, "HOST:PORT", "serves /healthz, /readyz and /metrics (0.0.0.0:8080)"),
    _Option("demand_listen", _listen, "HOST:PORT", "hears gateways while this process leads (0.0.0.0:8444)"),
    _Option("concurrency", _whole(1, 1000), "N", "reconciles at once (16)"),
    _Option("lease_name", _name, "NAME", "of the Lease (stoker-operator)"),
    _Option("lease_duration_s", _whole(3, 600), "SECONDS", "a holder silent for so long has lost it (10)"),
    _Option("server_timeout_s", _whole(5, 3600), "SECONDS", "the API server ends each watch after so long (300)"),
    _Option("inactivity_timeout_s", _whole(5, 7200), "SECONDS", "a silent watch is opened anew after so long (75)"),
    _Option("resync_s", _whole(5, 86_400), "SECONDS", "how often everything is listed and compared (600)"),
    _Option("pki_secret", _name, "NAME", "Secret with the certificate authority (stoker-pki)"),
    _Option("gateway_tls_secret", _name, "NAME", "Secret with the gateways' certificate (stoker-gateway-tls)"),
    _Option("certificate_days", _whole(1, 3650), "DAYS", "life of workers' and gateways' certificates (90)"),
    *WORKER_OPTIONS,
)
PLAN_OPTIONS = (
    _Option("file", Path, "FILE", "manifests, - for the standard input; repeatable", repeat=True),
    KUBECONFIG,
    _Option("namespace", _name, "NAME", "of objects that name none (default)"),
    *WORKER_OPTIONS,
)


class _Parser(argparse.ArgumentParser):
    """argparse that raises SettingsError instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; see {self.prog} --help")


def parse_run(arguments: Sequence[str], host_name: str) -> Settings:
    """Settings of the verb `run`; `host_name` names the process unless --identity does. Raises SettingsError."""
    given = _parse("run", "Make the cluster match its Deployments.", RUN_OPTIONS, arguments)
    if "namespace" not in given:
        raise SettingsError("--namespace is missing: the operator's own")
    return Settings(
        workers=_workers(given),
        identities=_made(Identities, given),
        leadership=_made(Leadership, given),
        watching=_made(Watching, given),
        **{"identity": host_name, **_of(Settings, given)},
    )


def parse_plan(arguments: Sequence[str]) -> PlanSettings:
    """Settings of the verb `plan`. Raises SettingsError."""
    given = _parse("plan", "Print what would be applied for Deployments, and why.", PLAN_OPTIONS, arguments)
    if "file" not in given:
        raise SettingsError("--file is missing: manifests with a Deployment, and what it names")
    given.setdefault("worker_image", [(CPU_IMAGE, "stoker-worker:cpu"), ("nvidia.com/gpu", "stoker-worker:cuda")])
    return PlanSettings(
        tuple(given["file"]), given.get("kubeconfig"), given.get("namespace", "default"), _workers(given)
    )


def parse_crds(arguments: Sequence[str]) -> CrdsSettings:
    """Settings of the verb `crds`. Raises SettingsError."""
    parser = _parser("crds", "Print the resources' definitions, or apply them.", (KUBECONFIG,))
    parser.add_argument("--apply", action="store_true", help="apply them to the cluster instead of printing them")
    namespace = parser.parse_args(arguments)
    return CrdsSettings(namespace.apply, _given(namespace, (KUBECONFIG,)).get("kubeconfig"))


def _parse(verb: str, description: str, options: Sequence[_Option], arguments: Sequence[str]) -> dict[str, Any]:
    return _given(_parser(verb, description, options).parse_args(arguments), options)


def _parser(verb: str, description: str, options: Sequence[_Option]) -> _Parser:
    parser = _Parser(prog=f"stoker operator {verb}", description=description, allow_abbrev=False)
    for option in options:
        flags = [option.flag, "-f"] if option.field == "file" else [option.flag]
        action = "append" if option.repeat else "store"
        parser.add_argument(*flags, dest=option.field, metavar=option.metavar, help=option.help, action=action)
    return parser


def _given(namespace: argparse.Namespace, options: Sequence[_Option]) -> dict[str, Any]:
    """Parsed values of the options that were given."""
    given: dict[str, Any] = {}
    for option in options:
        text = getattr(namespace, option.field)
        if text is None:
            continue
        try:
            given[option.field] = [option.parse(item) for item in text] if option.repeat else option.parse(text)
        except SettingsError as error:
            raise SettingsError(f"{option.flag}: {error}") from None
    return given


def _workers(given: Mapping[str, Any]) -> Workers:
    images = given.get("worker_image", [])
    if len(dict(images)) < len(images):
        raise SettingsError("--worker-image names a kind twice")
    if not images:
        raise SettingsError("--worker-image is missing: cpu=IMAGE, nvidia.com/gpu=IMAGE or both")
    return Workers(images=dict(images), **_of(Workers, given))


def _of(type_: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given of a structure's fields."""
    return {one.name: given[one.name] for one in fields(type_) if one.name in given}


def _made(type_: type[T], given: Mapping[str, Any]) -> T:
    return type_(**_of(type_, given))

"""What the verb `fetch` can be told: its command line, and credentials from the environment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoker_worker.errors import SettingsError
from stoker_worker.options import Option, parsed, required, whole
from stoker_worker.settings import Address

HUB = "https://huggingface.co"
DEFAULT_REVISION = "main"
DEFAULT_REGION = "us-east-1"
GGUF = ".gguf"

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REPOSITORY = re.compile(rf"(?P<repo>{_WORD}/{_WORD})(/(?P<file>.+))?")
_BUCKET = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<prefix>.*))?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository at a revision; `file` is a GGUF file of it, or "" for what makes up its model."""

    repo: str
    revision: str = DEFAULT_REVISION
    file: str = ""

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"/{self.file}" if self.file else "")


@dataclass(frozen=True, slots=True)
class BucketSource:
    """A folder of a bucket ("" or a name without slashes at its ends), or one GGUF file."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens the source; empty: it is public. Never shown."""

    hub_token: str = field(default="", repr=False)
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no line may contain."""
        return tuple(filter(None, (self.hub_token, self.access_key_id, self.secret_access_key, self.session_token)))


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """One run.

    to               the folder that the model will lie in
    endpoint         of the hub or of the S3 service; "": the public one
    progress_listen  HTTP address that tells how far it has come
    parallel         files under way at a time
    attempts         tries in a row without a new byte, before giving up
    """

    source: HubSource | BucketSource
    to: Path
    credentials: Credentials
    endpoint: str = ""
    region: str = DEFAULT_REGION
    progress_listen: Address | None = None
    parallel: int = 4
    attempts: int = 8

    def __post_init__(self) -> None:
        if self.progress_listen and self.progress_listen.path:
            raise SettingsError("--progress-listen takes HOST:PORT")


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise SettingsError(f"{text!r} is no endpoint; write https://HOST, without credentials")
    return text.rstrip("/")


def _revision(text: str) -> str:
    if not _REVISION.fullmatch(text) or ".." in text:
        raise SettingsError(f"{text!r} is no revision; give a commit, tag or branch")
    return text


OPTIONS = (
    Option("source", str, "URI", "hf://OWNER/NAME[/FILE.gguf] or s3://BUCKET[/FOLDER or /FILE.gguf]"),
    Option("revision", _revision, "REVISION", f"of a hf:// repository: a commit, tag or branch ({DEFAULT_REVISION})"),
    Option("to", Path, "FOLDER", "where the model will lie; what an earlier start left there is used"),
    Option("endpoint", _endpoint, "URL", "of another hub or S3 service than the public one"),
    Option("progress_listen", Address.parse, "HOST:PORT", "tell progress as JSON over HTTP here"),
    Option("parallel", whole(1), "N", "files under way at a time (4)"),
    Option("attempts", whole(1), "N", "tries in a row without a new byte, before giving up (8)"),
)


def parse_fetch(arguments: Sequence[str], environment: Mapping[str, str]) -> FetchSettings:
    """Settings of the verb `fetch`. Raises SettingsError."""
    given = parsed("fetch", "Fetch a model's files into a folder.", OPTIONS, arguments)
    source = parse_source(required(given, "source"), given.pop("revision", ""))
    required(given, "to")
    return FetchSettings(
        **{**given, "source": source},
        credentials=_credentials(source, environment),
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or DEFAULT_REGION,
    )


def parse_source(uri: str, revision: str = "") -> HubSource | BucketSource:
    """Raises SettingsError."""
    scheme, _, rest = uri.partition("://")
    if any(part in ("", ".", "..") for part in rest.rstrip("/").split("/")):
        raise SettingsError(f"--source {uri!r} must not hold empty parts, . or ..")
    if scheme == "hf" and (found := _REPOSITORY.fullmatch(rest.rstrip("/"))):
        return _hub_source(uri, revision, found["repo"], found["file"] or "")
    if scheme == "s3" and (found := _BUCKET.fullmatch(rest.rstrip("/"))):
        if revision:
            raise SettingsError("--revision is for hf:// sources: an S3 folder has none")
        return BucketSource(found["bucket"], found["prefix"] or "")
    raise SettingsError(f"--source {uri!r} is neither hf://OWNER/NAME nor s3://BUCKET/FOLDER")


def _hub_source(uri: str, revision: str, repo: str, file: str) -> HubSource:
    if file and not file.endswith(GGUF):
        raise SettingsError(f"--source {uri!r}: only a {GGUF} file can be named after hf://OWNER/NAME")
    return HubSource(repo, revision or DEFAULT_REVISION, file)


def _credentials(source: HubSource | BucketSource, environment: Mapping[str, str]) -> Credentials:
    """Those that the source can use; each of an S3 pair needs the other. Raises SettingsError."""
    if isinstance(source, HubSource):
        return Credentials(hub_token=environment.get("HF_TOKEN", "").strip())
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    key, secret, session = (environment.get(name, "").strip() for name in names)
    if bool(key) != bool(secret):
        there, missing = names[:2] if key else names[1::-1]
        raise SettingsError(f"{there} is set and {missing} is not: the Secret needs both, or neither")
    return Credentials(access_key_id=key, secret_access_key=secret, session_token=session)

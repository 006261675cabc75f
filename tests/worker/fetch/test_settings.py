"""What `fetch` can be told."""

import pytest

from stoker_worker.errors import SettingsError
from stoker_worker.fetch.settings import BucketSource, HubSource, parse_fetch, parse_source

COMMAND = ("--source=s3://bucket/x", "--to=/weights/model")


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("hf://owner/name", HubSource("owner/name")),
        ("hf://owner/name/", HubSource("owner/name")),
        ("hf://owner/name/deep/q4.gguf", HubSource("owner/name", file="deep/q4.gguf")),
        ("s3://bucket", BucketSource("bucket")),
        ("s3://bucket/a/b/", BucketSource("bucket", "a/b")),
        ("s3://bucket/a/q4.gguf", BucketSource("bucket", "a/q4.gguf")),
    ],
)
def test_sources(uri: str, source: object) -> None:
    assert parse_source(uri) == source


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("hf://name", "neither hf://OWNER/NAME nor"),
        ("hf://owner/name/model.bin", "only a .gguf file can be named"),
        ("hf://owner/../name", "empty parts"),
        ("s3://bucket//a", "empty parts"),
        ("s3://Bucket/a", "neither"),
        ("s3://", "empty parts"),
        ("file:///etc", "empty parts"),
        ("https://host/x", "neither hf://OWNER/NAME nor s3://BUCKET/FOLDER"),
    ],
)
def test_what_is_no_source(uri: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        parse_source(uri)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--source is missing"),
        (("--source=hf://a/b",), "--to is missing"),
        ((*COMMAND, "--revision=v1"), "--revision is for hf:// sources"),
        (("--source=hf://a/b", "--to=x", "--revision=../x"), "no revision"),
        ((*COMMAND, "--endpoint=https://user:secret@host"), "is no endpoint"),
        ((*COMMAND, "--endpoint=ftp://host"), "is no endpoint"),
        ((*COMMAND, "--progress-listen=unix:/x"), "--progress-listen takes HOST:PORT"),
        ((*COMMAND, "--parallel=0"), "--parallel: '0' is no whole number from 1"),
    ],
)
def test_what_cannot_work(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        parse_fetch(arguments, {})


def test_credentials_are_the_sources_own_and_never_shown() -> None:
    environment = {"HF_TOKEN": "hf_x\n", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "shh", "AWS_REGION": "r"}
    bucket = parse_fetch(COMMAND, environment)
    hub = parse_fetch(("--source=hf://a/b", "--to=x"), environment)
    assert (bucket.credentials.secrets, hub.credentials.secrets) == (("AKIA", "shh"), ("hf_x",))
    assert bucket.region == "r"
    assert not [secret for secret in ("AKIA", "shh", "hf_x") if secret in repr(bucket) + repr(hub)]

"""An operator's command line: every option is read, and whatever cannot work is refused by name."""

from pathlib import Path

import pytest

from stoker_operator.errors import SettingsError
from stoker_operator.settings import Watching, parse_crds, parse_plan, parse_run

NEEDED = ["--namespace=stoker", "--worker-image=cpu=worker:cpu"]


def test_defaults() -> None:
    settings = parse_run(NEEDED, "host-1")
    assert (settings.namespace, settings.identity, settings.kubeconfig) == ("stoker", "host-1", None)
    assert settings.workers.images == {"cpu": "worker:cpu"}
    assert (settings.listen, settings.concurrency) == (("0.0.0.0", 8080), 16)
    assert (settings.leadership.lease_name, settings.leadership.lease_duration_s) == ("stoker-operator", 10)
    assert settings.watching == Watching(300, 75, 600)


def test_every_option_is_read() -> None:
    settings = parse_run(
        [
            *NEEDED,
            *("--worker-image", "nvidia.com/gpu=worker:cuda", "--image-pull-policy=Never", "--drain-timeout=30"),
            *("--hf-endpoint=http://hub.local", "--s3-endpoint=https://store.local:9000", "--identity=pod-1"),
            *("--kubeconfig=/tmp/k", "--listen=127.0.0.1:0", "--concurrency=3", "--lease-name=x"),
            *("--lease-duration=5", "--server-timeout=10", "--inactivity-timeout=20", "--resync=30"),
            *("--pki-secret=p", "--gateway-tls-secret=g", "--certificate-days=2"),
        ],
        "host-1",
    )
    workers = settings.workers
    assert workers.images == {"cpu": "worker:cpu", "nvidia.com/gpu": "worker:cuda"}
    assert (workers.image_pull_policy, workers.drain_timeout_s) == ("Never", 30)
    assert (workers.hf_endpoint, workers.s3_endpoint) == ("http://hub.local", "https://store.local:9000")
    assert (settings.identity, settings.kubeconfig, settings.listen) == ("pod-1", Path("/tmp/k"), ("127.0.0.1", 0))
    assert (settings.concurrency, settings.leadership.lease_name, settings.leadership.lease_duration_s) == (3, "x", 5)
    assert settings.watching == Watching(10, 20, 30)
    identities = settings.identities
    assert (identities.pki_secret, identities.gateway_tls_secret, identities.certificate_days) == ("p", "g", 2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(["--worker-image=cpu=x"], "--namespace", id="no namespace"),
        pytest.param(["--namespace=x"], "--worker-image", id="no image"),
        pytest.param([*NEEDED, "--worker-image=cpu=y"], "twice", id="two images of one kind"),
        pytest.param([*NEEDED, "--worker-image=worker:cpu"], "cpu=IMAGE", id="an image without a kind"),
        pytest.param([*NEEDED, "--surge=3"], "--surge", id="unknown"),
        pytest.param([*NEEDED, "--names=x"], "--names", id="abbreviated"),
        pytest.param([*NEEDED, "--concurrency=0"], "--concurrency", id="out of range"),
        pytest.param([*NEEDED, "--drain-timeout=soon"], "--drain-timeout", id="no number"),
        pytest.param([*NEEDED, "--listen=8080"], "HOST:PORT", id="no address"),
        pytest.param([*NEEDED, "--hf-endpoint=hub.local"], "--hf-endpoint", id="no URL"),
        pytest.param([*NEEDED, "--image-pull-policy=Maybe"], "--image-pull-policy", id="no choice"),
        pytest.param([*NEEDED, "--namespace=Not_A_Name"], "--namespace", id="no name"),
    ],
)
def test_what_cannot_work_is_refused_by_name(arguments: list[str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parse_run(arguments, "h")


def test_plan_takes_files() -> None:
    settings = parse_plan(["-f", "a.yaml", "--file", "-", "--namespace=team"])
    assert settings.files == (Path("a.yaml"), Path("-"))
    assert (settings.namespace, settings.kubeconfig) == ("team", None)
    with pytest.raises(SettingsError, match="--file"):
        parse_plan([])


def test_crds_are_printed_unless_they_are_applied() -> None:
    assert not parse_crds([]).apply
    assert parse_crds(["--apply", "--kubeconfig=k"]).kubeconfig == Path("k")

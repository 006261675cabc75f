"""The command line: what it may say, and that the engine gets what the front was told."""

from pathlib import Path
from typing import Any

import pytest

from stoker_worker.errors import SettingsError
from stoker_worker.settings import (
    Address,
    EngineSettings,
    derived_model_id,
    engine_arguments,
    parse_engine,
    parse_serve,
)

LEAST = ["--model", "a/My Model.Q4.gguf", "--listen", "unix:/tmp/w.sock"]


def test_the_least_that_must_be_said() -> None:
    worker, engine = parse_serve(LEAST)
    assert engine == EngineSettings(Path("a/My Model.Q4.gguf"))
    assert str(worker.listen) == "unix:/tmp/w.sock"
    assert (worker.model_id, worker.aliases) == ("accounts/local/models/my-model.q4", ("my-model.q4",))
    assert len(worker.instance) == 32
    assert parse_serve(LEAST)[0].instance != worker.instance


def test_everything_that_may_be_said(tmp_path: Path) -> None:
    for name in ("cert", "key", "ca"):
        (tmp_path / name).touch()
    worker, engine = parse_serve(
        [
            *("--model", "m", "--listen", "10.0.0.1:5", "--health-listen", "[::]:6", "--metrics-listen", "127.0.0.1:7"),
            *("--model-id", "accounts/a/models/b", "--alias", "c", "--alias", "d", "--region", "r", "--pool", "p"),
            *("--tier", "t", "--deployment-uid", "u", "--instance", "i", "--max-queue", "8", "--drain-timeout", "1.5"),
            *("--otlp-endpoint", "http://x", "--tls-cert", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key")),
            *("--tls-ca", str(tmp_path / "ca"), "--precision", "bf16", "--device", "torch"),
            *("--threads", "2", "--kv-tokens", "640"),
            *("--block-size", "32", "--max-batch-tokens", "64", "--max-batch-sequences", "4", "--max-context", "128"),
            "--no-prefix-cache",
        ]
    )
    assert (worker.model_id, worker.aliases, worker.instance) == ("accounts/a/models/b", ("c", "d"), "i")
    assert (worker.region, worker.pool, worker.tier, worker.deployment_uid) == ("r", "p", "t", "u")
    assert (worker.max_queue, worker.drain_timeout_s, worker.otlp_endpoint) == (8, 1.5, "http://x")
    assert (str(worker.listen), str(worker.health_listen), str(worker.metrics_listen)) == (
        "10.0.0.1:5",
        "[::]:6",
        "127.0.0.1:7",
    )
    assert worker.tls is not None
    assert engine == EngineSettings(Path("m"), "bf16", "torch", 2, 640, 32, 64, 4, False, 128)
    assert parse_engine([*engine_arguments(engine), "--fd", "9"]) == (9, engine)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "--model is missing", id="nothing"),
        pytest.param(["--model", "m"], "--listen is missing", id="no address"),
        pytest.param([*LEAST, "--colour", "red"], "unrecognized arguments: --colour red", id="an unknown setting"),
        pytest.param([*LEAST, "--max-q", "3"], "unrecognized arguments: --max-q 3", id="an abbreviation"),
        pytest.param([*LEAST, "--threads", "-1"], "--threads", id="negative threads"),
        pytest.param([*LEAST, "--max-queue", "0"], "--max-queue: '0' is no whole number from 1", id="no queue"),
        pytest.param([*LEAST, "--block-size", "24"], "it must be a multiple of 16", id="a block beside the unit"),
        pytest.param(
            [*LEAST, "--precision", "fp8"], "--precision: 'fp8' is not one of auto, fp32, bf16", id="precision"
        ),
        pytest.param([*LEAST, "--device", "tpu"], "--device: 'tpu' is not one of auto, native, torch", id="device"),
        pytest.param([*LEAST, "--drain-timeout", "nan"], "is no number of seconds", id="a time that is none"),
        pytest.param([*LEAST, "--model-id", "a@b"], "must not be empty or contain @", id="a model id with a revision"),
        pytest.param(["--model", "m", "--listen", "here"], "write unix:PATH or HOST:PORT", id="no address at all"),
        pytest.param(["--model", "m", "--listen", "unix:"], "write unix:PATH", id="no path"),
        pytest.param(["--model", "m", "--listen", "127.0.0.1:99999"], "is no address", id="a port beyond all ports"),
        pytest.param(["--model", "m", "--listen", "unix:/" + "x" * 107], "at most 107 bytes", id="a long socket path"),
        pytest.param(["--model", "m", "--listen", "0.0.0.0:1"], "can be reached from other machines", id="no TLS"),
        pytest.param(["--model", "m", "--listen", "worker:1"], "give --tls-cert, --tls-key", id="a name without TLS"),
        pytest.param([*LEAST, "--tls-cert", "x"], "needs all of --tls-cert, --tls-key and --tls-ca", id="half of TLS"),
        pytest.param(
            [*LEAST, *("--tls-cert", "/no/x", "--tls-key", "/no/x", "--tls-ca", "/no/x")],
            "/no/x does not exist",
            id="TLS files that are not there",
        ),
        pytest.param([*LEAST, "--metrics-listen", "unix:/tmp/m"], "takes HOST:PORT", id="metrics on a Unix socket"),
    ],
)
def test_what_cannot_work_is_told_at_start(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_serve(arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("unix:/tmp/x", True),
        ("127.0.0.1:1", True),
        ("127.8.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("example.com:1", False),
    ],
)
def test_local_addresses(text: str, local: bool) -> None:
    address = Address.parse(text)
    assert (str(address), address.is_local) == (text, local)


@pytest.mark.parametrize(
    ("path", "model_id"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct.q4_1"),
        ("/models/Qwen2.5-0.5B", "qwen2.5-0.5b"),
        ("größe@home/", "gr-e-home"),
        ("日本.gguf", "model"),
    ],
)
def test_model_ids_from_names(path: str, model_id: str) -> None:
    assert derived_model_id(Path(path)) == f"accounts/local/models/{model_id}"


def test_an_engine_needs_its_socket() -> None:
    arguments: list[Any] = engine_arguments(EngineSettings(Path("m")))
    with pytest.raises(SettingsError, match="--fd is missing"):
        parse_engine(arguments)

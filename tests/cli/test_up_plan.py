"""What `up` would start, where, and who may reach it."""

from pathlib import Path

import pytest

from stoker_cli.errors import BadInput
from stoker_cli.settings import Folders
from stoker_cli.up.backoff import Backoff
from stoker_cli.up.model import ServedModel
from stoker_cli.up.options import UpOptions, check_exposure, free_port
from stoker_cli.up.plan import plan, threads_per_worker
from stoker_cli.up.readiness import ready_engines, waiting_for
from stoker_cli.up.view import banner

MODEL = ServedModel(Path("/m.gguf"), "acme/m", ("m", "n"))


def options(**changes) -> UpOptions:
    given = {
        "model": None, "model_id": None, "aliases": (), "host": "127.0.0.1", "port": 8000, "workers": 1,
        "precision": "auto", "keys": None, "usage_file": None, "log_file": None, "state_dir": Path("/s"),
        "otlp_endpoint": None,
    }  # fmt: skip
    return UpOptions(**{**given, **changes})


def pairs(command: tuple[str, ...]) -> list[tuple[str, str]]:
    """The options of a command line, which all take a value."""
    return list(zip(command[4::2], command[5::2], strict=True))


def test_each_worker_gets_its_socket_and_its_share_of_the_cores_and_the_gateway_knows_them_all():
    made = plan(options(workers=2, precision="bf16"), MODEL, Path("/run"), Path("/s/usage.jsonl"), cores=8)
    assert [worker.command[1:4] for worker in made.workers] == [("-m", "stoker_worker", "serve")] * 2
    assert pairs(made.workers[1].command) == [
        ("--model", "/m.gguf"), ("--model-id", "acme/m"), ("--alias", "m"), ("--alias", "n"),
        ("--listen", "unix:/run/worker-1.sock"), ("--precision", "bf16"), ("--threads", "4"),
    ]  # fmt: skip
    assert made.gateway.command[1:4] == ("-m", "stoker_gateway", "serve")
    assert pairs(made.gateway.command) == [
        ("--listen", "127.0.0.1:8000"), ("--worker", "unix:/run/worker-0.sock"), ("--worker", "unix:/run/worker-1.sock"),
        ("--usage-file", "/s/usage.jsonl"), ("--drain-timeout", "20"),
    ]  # fmt: skip


def test_what_is_not_asked_for_is_not_passed_on_and_what_is_reaches_its_process():
    made = plan(
        options(keys=Path("k.json"), otlp_endpoint="http://o:4318", host="::1"), MODEL, Path("/r"), Path("/u"), cores=2
    )
    assert ("--keys", "k.json") in pairs(made.gateway.command)
    assert ("--listen", "[::1]:8000") in pairs(made.gateway.command)
    assert all(("--otlp-endpoint", "http://o:4318") in pairs(c.command) for c in (made.gateway, *made.workers))


@pytest.mark.parametrize(("cores", "workers", "threads"), [(8, 1, 8), (8, 3, 2), (2, 2, 1), (2, 4, 1)])
def test_cores_are_divided_and_every_worker_has_one(cores, workers, threads):
    assert threads_per_worker(cores, workers) == threads


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_key(host):
    check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "models.example"])
def test_any_other_address_does(host, tmp_path):
    with pytest.raises(BadInput, match="stoker keys add"):
        check_exposure(host, None)
    (tmp_path / "keys.json").touch()
    check_exposure(host, tmp_path / "keys.json")


def test_port_0_is_any_free_port():
    assert free_port("127.0.0.1", 0) > 0


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")],
)
def test_the_url_to_paste_reaches_the_server_from_this_machine(host, url):
    shown = banner(options(host=host, keys=Path("k")), MODEL, Path("/u"), Path("/l"))
    assert f'curl {url}/v1/chat/completions -H "Authorization: Bearer $STOKER_API_KEY"' in shown
    assert '"model": "m"' in shown


def test_a_process_that_keeps_dying_is_started_less_and_less_often_until_it_lives():
    delays, state = [], Backoff()
    for _ in range(7):
        delays.append(state.delay_s)
        state = state.after(lived_s=0.1)
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    assert state.after(lived_s=61).delay_s == 1


@pytest.mark.parametrize(
    ("body", "said", "ready"),
    [
        (b'{"workers":{"connecting":1,"connected":2,"backing_off":0}}', "1 worker connecting, 2 workers connected", 0),
        (
            b'{"workers":{"connected":2},"engines":[{"state":"starting"},{"state":"ready"},{"state":"starting"}]}',
            "2 engines starting, 1 engine ready",
            1,
        ),
        (b'{"workers":{}}', "", 0),
        (b"", "", 0),
        (b"starting", "", 0),
    ],
)
def test_what_the_server_waits_for_is_said_as_far_as_it_is_known(body, said, ready):
    assert (waiting_for(body), ready_engines(body)) == (said, ready)


def test_folders_follow_the_xdg_variables_and_ignore_relative_ones(tmp_path):
    found = Folders.from_env(
        {"HOME": "/h", "XDG_STATE_HOME": "/st", "XDG_CACHE_HOME": "rel", "XDG_RUNTIME_DIR": "/none"}
    )
    assert found == Folders(Path("/st/stoker"), Path("/h/.cache/stoker"), None)
    assert Folders.from_env({"HOME": "/h", "XDG_RUNTIME_DIR": str(tmp_path)}).runtime == tmp_path

"""The node's first process and the machine's side of it, without the namespaces around them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hack.kube import init
from hack.kube.processes import StartFailure
from hack.kube.supervisor import Supervisor
from tests.hack.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Below a folder that is too deep for the path of a socket."""
    folder = tmp_path / ("deep" * 30)
    (folder / "logs").mkdir(parents=True)
    monkeypatch.setattr(init, "HOME", folder)
    code = "from hack.kube.init import Init; Init().serve()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        eventually((folder / "init.sock").exists, process.poll)
        yield Supervisor(folder)
    finally:
        process.kill()
        process.wait()


def test_it_tells_how_its_children_ended(supervisor: Supervisor) -> None:
    supervisor.start("good", ["true"])
    supervisor.start("bad", ["sh", "-c", "exit 3"])
    supervisor.start("long", ["sleep", "60"])
    eventually(lambda: supervisor.codes() == {"good": 0, "bad": 3, "long": None}, supervisor.codes)
    assert supervisor.ended() == ["bad"]
    supervisor.signal("long", signal.SIGKILL)
    eventually(lambda: supervisor.codes()["long"] == -signal.SIGKILL, supervisor.codes)


def test_a_part_that_runs_is_not_started_twice_and_one_that_ended_is_started_anew(supervisor: Supervisor) -> None:
    supervisor.start("part", ["sleep", "60"])
    with pytest.raises(StartFailure, match="part runs already"):
        supervisor.start("part", ["true"])
    supervisor.signal("part", signal.SIGTERM)
    eventually(lambda: supervisor.codes()["part"] is not None, supervisor.codes)
    supervisor.start("part", ["true"])
    eventually(lambda: supervisor.codes()["part"] == 0, supervisor.codes)


def test_a_command_that_fails_shows_its_log_and_is_forgotten(supervisor: Supervisor) -> None:
    supervisor.run("first", ["true"])
    with pytest.raises(StartFailure, match=r"second ended:\nno such image"):
        supervisor.run("second", ["sh", "-c", "echo no such image >&2; exit 1"])
    assert supervisor.codes() == {}


@pytest.mark.parametrize(
    ("act", "says"),
    [
        pytest.param(lambda it: it.signal("nobody", 9), "KeyError: 'nobody'", id="a signal for nobody"),
        pytest.param(lambda it: it.start("part", ["/nothing"]), "No such file", id="a program that is not there"),
    ],
)
def test_what_it_cannot_do_it_says_and_goes_on(supervisor: Supervisor, act, says: str) -> None:
    with pytest.raises(StartFailure, match=says):
        act(supervisor)
    supervisor.run("next", ["true"])


def test_children_do_not_inherit_that_python_ignores_broken_pipes(supervisor: Supervisor) -> None:
    supervisor.run("pipe", ["sh", "-c", "grep SigIgn /proc/self/status"])
    ignored = int((supervisor.folder / "logs" / "pipe.log").read_text().split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)

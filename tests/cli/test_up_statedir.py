"""One `stoker up` per state folder; logs of the last few starts."""

import os
import stat

import pytest

from stoker_cli.errors import BadInput
from stoker_cli.up.statedir import locked, rotate, run_folder


def test_the_second_is_told_who_the_first_is(tmp_path):
    with locked(tmp_path / "state") as publish:
        publish("http://127.0.0.1:8000")
        with (
            pytest.raises(
                BadInput, match=rf"already running.*pid {os.getpid()}, http://127\.0\.0\.1:8000.*--state-dir"
            ),
            locked(tmp_path / "state"),
        ):
            pass
    with locked(tmp_path / "state"):
        pass


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="--state-dir"), locked(tmp_path / "file" / "state"):
        pass


def test_sockets_lie_in_a_private_folder_that_goes_away(tmp_path):
    with run_folder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "worker-0.sock").touch()
    assert list(tmp_path.iterdir()) == []


def test_each_start_has_a_fresh_log_and_the_last_ones_stay(tmp_path):
    log = tmp_path / "logs" / "stoker.log"
    for start in range(4):
        rotate(log, keep=2)
        assert log.read_text() == ""
        log.write_text(f"start {start}")
    kept = {path.name: path.read_text() for path in log.parent.iterdir()}
    assert kept == {"stoker.log": "start 3", "stoker.log.1": "start 2", "stoker.log.2": "start 1"}

"""The command line: what it refuses, in which words, with which exit code."""

import json
import os
from pathlib import Path

import pytest
from hack.kube import cluster, machine, records
from hack.kube.__main__ import main
from hack.kube.records import AlreadyRunning, Record
from hack.kube.site import Site

NOBODY = Site(7)


@pytest.fixture(autouse=True)
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's cluster is another one, and its records are elsewhere."""
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    monkeypatch.setattr(cluster, "SITE", NOBODY)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "the following arguments are required: VERB", id="no verb"),
        pytest.param(["upp"], "invalid choice: 'upp'", id="a misspelled verb"),
        pytest.param(["build", "kubelett"], "no binary is called kubelett; there are etcd,", id="an unknown binary"),
        pytest.param(["up", "--gpus", "-1"], "a number of 0 or more is needed, not '-1'", id="less than no GPU"),
        pytest.param(["up", "--gpus", "four"], "a number of 0 or more is needed, not 'four'", id="not a number"),
    ],
)
def test_wrong_arguments_are_explained(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_fake_nodes_that_make_no_sense_are_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--fake-nodes", "lots"]) == 1
    assert "fake nodes: neither a number nor a file that can be read: lots" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["up", "down"])
def test_whoever_is_not_root_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if verb == "down":
        records.create(NOBODY, Record.kept(Path("/nowhere")))
    assert main([verb]) == 1
    assert "hack.kube: a node needs root" in capsys.readouterr().err


def test_up_without_its_tools_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["up"]) == 1
    assert "apt-get install iproute2 mount nftables util-linux" in capsys.readouterr().err


def test_up_twice_says_how_to_begin_again(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "check", lambda site: None)
    records.create(NOBODY, Record.kept(Path("/nowhere")))
    assert main(["up"]) == 1
    assert "stoker7 is up already: `make cluster-down` removes it" in capsys.readouterr().err


def test_down_and_status_without_a_cluster_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "not up: `make cluster-up` starts it\nthere was nothing to remove\n"


def test_a_number_that_a_living_process_has_is_not_given_twice(tmp_path: Path) -> None:
    records.create(NOBODY, Record.mine(tmp_path))
    with pytest.raises(AlreadyRunning, match=f"stoker7 belongs to process {os.getpid()}, which is still running"):
        records.create(NOBODY, Record.mine(tmp_path))


def test_a_record_is_orphaned_when_its_owner_is_gone_or_its_number_is_somebody_elses(tmp_path: Path) -> None:
    mine = Record.mine(tmp_path)
    assert not mine.orphaned
    assert Record(mine.folder, mine.owner, mine.owner_started - 1).orphaned
    assert not Record.kept(tmp_path).orphaned


def test_a_half_written_record_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "stoker7.json").write_text(json.dumps({"folder": "/x"})[:5])
    assert records.read(NOBODY) is None

"""Which binaries there are, and when one is built anew."""

import shutil
from pathlib import Path

import pytest
from hack.kube import binaries
from hack.kube.binaries import API, BINARIES, CLIENTS, CONTROLLERS, NODE, Binary, BuildFailure, ensure


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the Go modules, and an empty cache."""
    shutil.copytree(binaries.HERE / "go", tmp_path / "go")
    monkeypatch.setattr(binaries, "HERE", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "go"


def place(name: str) -> Path:
    return binaries._path(BINARIES[name])


def test_every_binary_is_in_exactly_one_group_and_has_its_module() -> None:
    names = [*API, *CONTROLLERS, *NODE, *CLIENTS]
    assert sorted(names) == sorted(BINARIES)
    for binary in BINARIES.values():
        for file in ("go.mod", "go.sum"):
            assert (binaries.HERE / "go" / binary.module / file).is_file()


def test_a_binary_lies_under_its_name_in_the_users_cache(modules: Path) -> None:
    path = place("kubectl")
    assert path.name == "kubectl"
    assert path.parent.parent == modules.parent / "home" / ".cache" / "stoker" / "kube"


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_changed_module_moves_its_binaries_and_no_others(modules: Path, file: str) -> None:
    before = {name: place(name) for name in BINARIES}
    with (modules / "containers" / file).open("a") as changed:
        changed.write("\n")
    moved = {name for name in BINARIES if place(name) != before[name]}
    assert moved == {name for name, binary in BINARIES.items() if binary.module == "containers"}


def test_a_changed_source_of_ours_moves_only_its_program(modules: Path) -> None:
    before = {name: place(name) for name in BINARIES}
    with (modules / "node" / "gpus" / "main.go").open("a") as changed:
        changed.write("\n")
    assert {name for name in BINARIES if place(name) != before[name]} == {"gpus"}


def test_flags_and_tags_decide_too(modules: Path) -> None:
    plain = Binary("runc", "containers", "github.com/opencontainers/runc")
    tagged = Binary("runc", "containers", "github.com/opencontainers/runc", tags="seccomp")
    flagged = Binary("runc", "containers", "github.com/opencontainers/runc", ldflags="-X main.version=1")
    assert len({binaries._path(binary) for binary in (plain, tagged, flagged)}) == 3


def test_a_missing_binary_that_may_not_be_built_says_how(modules: Path) -> None:
    with pytest.raises(BuildFailure, match="etcd is not built yet: run `make kube`"):
        ensure(["etcd"], build=False)


def test_what_runc_needs_is_named_when_it_is_missing(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(modules))
    with pytest.raises(BuildFailure, match=r"^runc is partly C: apt-get install gcc"):
        ensure(["runc"])

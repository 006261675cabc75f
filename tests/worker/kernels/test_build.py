"""The native library is compiled once, and whoever cannot compile it learns why."""

from pathlib import Path

import pytest

from stoker_worker.errors import NativeUnavailable
from stoker_worker.kernels.native.build import library_path
from stoker_worker.kernels.native.library import load


@pytest.fixture
def only_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it but a compiler that a test writes there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder / "c++"


def write_tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_second_look_finds_what_the_first_compiled(tmp_path: Path) -> None:
    library = library_path(tmp_path)
    written = library.stat().st_mtime_ns
    assert library_path(tmp_path) == library
    assert library.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [library.name]
    assert load(library).stoker_create


def test_no_compiler_is_said(only_tool: Path, tmp_path: Path) -> None:
    with pytest.raises(NativeUnavailable, match=r"no C\+\+ compiler .* is on the PATH"):
        library_path(tmp_path)


def test_what_the_compiler_said_is_passed_on(only_tool: Path, tmp_path: Path) -> None:
    write_tool(only_tool, 'case "$*" in *-dM*) exit 0;; esac; echo "disk full" >&2; exit 1')
    with pytest.raises(NativeUnavailable, match=r"c\+\+ failed: disk full"):
        library_path(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_compiler_of_another_version_does_not_get_the_old_library(only_tool: Path, tmp_path: Path) -> None:
    say = 'case "$*" in *-dM*) echo "#define VERSION {}"; exit 0;; esac; while [ "$1" != -o ]; do shift; done; : >"$2"'
    write_tool(only_tool, say.format(1))
    first = library_path(tmp_path)
    write_tool(only_tool, say.format(2))
    assert library_path(tmp_path) != first


def test_a_cache_that_cannot_be_written_is_named(only_tool: Path, tmp_path: Path) -> None:
    write_tool(only_tool, "exit 0")
    (tmp_path / "file").write_text("")
    with pytest.raises(NativeUnavailable, match="file/native cannot hold the compiled library: Not a directory"):
        library_path(tmp_path / "file" / "native")

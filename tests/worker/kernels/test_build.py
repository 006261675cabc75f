"""The native library is compiled once, and whoever cannot compile it learns why."""

import platform
from pathlib import Path

import pytest

from stoker_worker.errors import NativeUnavailable
from stoker_worker.kernels.native.build import library_path, ship, source_digest
from stoker_worker.kernels.native.library import load
from stoker_worker.kernels.native.prebuilt import LEVELS, Processor, file_name, find, levels, this_processor


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


def test_a_shipped_library_needs_no_compiler(only_tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    made = ship(tmp_path / "shipped", platform.machine())
    assert len(made) == len(levels(platform.machine()))
    monkeypatch.setenv("PATH", str(only_tool.parent))
    library = library_path(tmp_path / "cache", tmp_path / "shipped")
    assert library in made
    assert load(library).stoker_create
    assert not (tmp_path / "cache").exists()


V4, V3, V2 = (level.features for level in LEVELS[:3])


@pytest.mark.parametrize(
    ("features", "shipped", "found"),
    [
        pytest.param(V4 | {"amx_tile"}, (0, 1, 2), 0, id="the newest processor takes the widest"),
        pytest.param(V3, (0, 1, 2), 1, id="one without AVX-512 takes the next"),
        pytest.param(V4 - {"fma"}, (0, 1, 2), 2, id="one feature that is missing is enough"),
        pytest.param(V4, (2,), 2, id="what was not shipped is not found"),
        pytest.param(frozenset(), (0, 1, 2), None, id="an old processor takes none"),
    ],
)
def test_a_processor_takes_the_fastest_library_that_it_can_run(
    tmp_path: Path, features: frozenset[str], shipped: tuple[int, ...], found: int | None
) -> None:
    for index in shipped:
        (tmp_path / file_name(LEVELS[index], "digest")).touch()
    expected = None if found is None else tmp_path / file_name(LEVELS[found], "digest")
    assert find(tmp_path, "digest", Processor("x86_64", features)) == expected
    assert find(tmp_path, "another", Processor("x86_64", features)) is None
    assert find(tmp_path, "digest", Processor("riscv64", features)) is None


def test_a_library_of_other_sources_is_not_taken(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for level in levels(platform.machine()):
        (shipped / file_name(level, "of-other-sources")).touch()
    library = library_path(tmp_path / "cache", shipped)
    assert library.parent == tmp_path / "cache"
    assert source_digest() not in library.name


def test_a_machine_without_proc_has_no_features(tmp_path: Path) -> None:
    assert this_processor(tmp_path / "missing").features == frozenset()
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert this_processor(tmp_path / "cpuinfo").features == {"fpu", "avx2", "fma"}

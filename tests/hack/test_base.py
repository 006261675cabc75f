"""The base layer of test images: what it needs is named."""

import os
from pathlib import Path

import pytest
from hack.kube import base
from hack.kube.base import NoBase, python_layer


@pytest.fixture(autouse=True)
def root_with_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if by root, with an empty cache."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mmdebstrap").write_text("#!/bin/sh\necho no such suite >&2\nexit 1\n")
    (tmp_path / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "sources").write_text("")
    monkeypatch.setattr(base, "SOURCES", (tmp_path / "sources",))


def test_without_mmdebstrap_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(NoBase, match="apt-get install mmdebstrap"):
        python_layer()


def test_without_package_sources_it_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SOURCES", (tmp_path / "missing",))
    with pytest.raises(NoBase, match=r"package sources: one of .*missing"):
        python_layer()


def test_what_mmdebstrap_says_is_passed_on_and_nothing_half_made_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NoBase, match="no such suite"):
        python_layer()
    assert not list(tmp_path.rglob("*.tar"))

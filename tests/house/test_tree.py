"""The tree keeps its promises: source roots are no packages, every room is importable, generated files are marked."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"cli": "stoker_cli", "core": "stoker_core", "gateway": "stoker_gateway", "operator": "stoker_operator"}


def python(code: str, cwd: Path = ROOT) -> str:
    run = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_the_standard_librarys_operator_is_not_shadowed() -> None:
    """From the root of the checkout, where a folder `operator` stands on the path."""
    assert python("import operator; print(operator.add(1, 2), 'stoker' in operator.__file__)") == "3 False"


@pytest.mark.parametrize("root", [*ROOMS, "proto", "worker"])
def test_source_roots_are_no_packages(root: str) -> None:
    assert (ROOT / root).is_dir()
    assert not (ROOT / root / "__init__.py").exists()


@pytest.mark.parametrize("package", [*ROOMS.values(), "stoker.worker.v1", "stoker_worker"])
def test_every_room_is_importable(package: str) -> None:
    assert python(f"import {package}; print('ok')", Path("/")) == "ok"


@pytest.mark.parametrize("absent", ["torch", "numpy", "grpc", "kopf"])
def test_core_brings_nothing_along(absent: str) -> None:
    modules = "stoker_core.blocks, stoker_core.names, stoker_core.principals, stoker_core.text, stoker_core.usage"
    assert python(f"import sys, {modules}; print({absent!r} in sys.modules)") == "False"

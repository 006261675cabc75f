"""Exactly what each image installs: the closure of an extra of pyproject.toml, at the versions of constraints.txt.

It is computed from what is installed here, so it needs no network: `make generate` writes it, `make verify` compares it.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "images" / "requirements"
HEADER = "# Made by `make generate` from pyproject.toml and constraints.txt.\n"
PROJECT = "stoker"

# Layers by what their images have below them already.
SHARED = ("wire", "tracing")
WORKER = ("worker", "fetch")
LAYERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "shared": (SHARED, ()),
    "operator": (("operator",), SHARED),
    "gateway": (("gateway",), SHARED),
    "worker": (WORKER, SHARED),
    "torch": ((*WORKER, "torch"), WORKER),
}


def texts() -> dict[str, str]:
    """Each layer's requirements file."""
    made = {}
    for layer, (extras, below) in LAYERS.items():
        pins = closure(extras) - closure(below) if below else closure(extras)
        made[f"{layer}.txt"] = HEADER + "".join(f"{pin}\n" for pin in sorted(pins))
    return made


def write() -> None:
    """All of them; files of layers that are gone are removed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in FOLDER.glob("*.txt"):
        stale.unlink()
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


def closure(extras: Iterable[str]) -> set[str]:
    """`name==version` of everything that the extras need on this machine."""
    project, versions = _project(), _versions()
    waiting = [Requirement(f"{PROJECT}[{','.join(extras)}]")]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) not in seen:
                seen.add((name, extra))
                needs = project[extra] if name == PROJECT else metadata.requires(name) or ()
                waiting += [need for need in map(Requirement, needs) if _applies(need, extra)]
    return {f"{name}=={versions[name]}" for name, _ in seen if name != PROJECT}


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _project() -> dict[str, list[str]]:
    """What it needs by extra; "" is without any."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def _versions() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line.strip()) for line in lines]
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}

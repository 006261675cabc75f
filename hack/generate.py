"""Regenerate everything that is generated: run by `make generate`, compared by `make verify`.

The worker wire: message classes, their types, and the gRPC stubs, written beside the `.proto`. The custom resources' definitions,
written from their typed source to `manifests/crds` and, byte for byte, to the chart, which cannot read files outside its own folder.
What each image installs, written to `images/requirements`.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from hack.images import requirements

from stoker_operator.api.crd import crd
from stoker_operator.api.resources import RESOURCES

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
CRDS = (ROOT / "manifests" / "crds", ROOT / "charts" / "stoker" / "files" / "crds")
HEADER = "# Made by `make generate` from operator/stoker_operator/api.\n"


def main() -> int:
    """Write all generated files below the repository's root; the exit code is protoc's."""
    write_crds()
    requirements.write()
    return write_stubs()


def write_crds() -> None:
    """One file per resource in each folder; files of resources that are gone are removed."""
    texts = {
        f"{resource.crd_name}.yaml": HEADER
        + yaml.safe_dump(crd(resource), sort_keys=False, width=140, allow_unicode=True)
        for resource in RESOURCES
    }
    for folder in CRDS:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.yaml"):
            stale.unlink()
        for name, text in texts.items():
            (folder / name).write_text(text)


def write_stubs() -> int:
    """The classes of every `.proto`; returns protoc's exit code."""
    sources = [str(path.relative_to(PROTO)) for path in sorted(PROTO.rglob("*.proto"))]
    outputs = [f"--{kind}_out=." for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *sources]
    # protoc finds its plugins on the path: those of this environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(command, cwd=PROTO, env={**os.environ, "PATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

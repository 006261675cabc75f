"""Fail if a generated file in the tree is not what the generator makes: run by `make verify`.

The generator writes in place, so the files are compared before and after, and put back when they differ.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = (
    "proto/**/*_pb2*.py",
    "proto/**/*_pb2*.pyi",
    "manifests/crds/*.yaml",
    "charts/stoker/files/crds/*.yaml",
    "images/requirements/*.txt",
)


def snapshot() -> dict[Path, bytes]:
    """Every generated file and its content."""
    return {path: path.read_bytes() for pattern in GENERATED for path in sorted(ROOT.glob(pattern))}


def main() -> int:
    """The exit code: 0 if nothing differs, 1 with a list of what does."""
    committed = snapshot()
    generator = subprocess.run(
        [sys.executable, "-m", "hack.generate"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if generator.returncode:
        sys.stderr.write(generator.stderr)
        return 1
    made = snapshot()
    stale = [path for path in committed.keys() | made.keys() if committed.get(path) != made.get(path)]
    for path, content in committed.items():
        path.write_bytes(content)
    for path in sorted(stale):
        print(f"{path.relative_to(ROOT)} is not what `make generate` makes")
    print("run `make generate` and commit the result" if stale else "generated files are current")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

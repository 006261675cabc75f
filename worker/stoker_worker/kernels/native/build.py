"""Compiles the native library for this machine, once: later processes find it in the user's cache."""

import logging
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

from stoker_worker.errors import NativeUnavailable

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).with_name("src")
COMPILERS = ("c++", "g++", "clang++")
# Sums must not be reordered: a row's result would then depend on the rows beside it. FMA contraction is the same for all of them.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-pthread")
COMPILE_TIMEOUT_S = 120


def library_path(cache: Path | None = None) -> Path:
    """The library, compiled if this machine has none of these sources yet.

    cache  folder to keep it in; default: ~/.cache/stoker/native
    Raises NativeUnavailable with what is missing or what the compiler said.
    """
    compiler = _compiler()
    library = (cache or Path.home() / ".cache" / "stoker" / "native") / f"step-{_fingerprint(compiler)}.so"
    if not library.exists():
        logger.info("compiling the native step for this machine (once)")
        _compile(compiler, library)
    return library


def _compiler() -> str:
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    raise NativeUnavailable(f"no C++ compiler ({', '.join(COMPILERS)}) is on the PATH; `apt install g++` brings one")


def _fingerprint(compiler: str) -> str:
    """Changes with the sources, the flags, the compiler's version and the processor's instruction sets."""
    macros = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])
    digest = blake2b(macros, digest_size=8)
    digest.update(" ".join(FLAGS).encode())
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


def _compile(compiler: str, library: Path) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            _build(compiler, Path(folder)).replace(library)  # at once: other processes may be looking for it
    except OSError as error:
        raise NativeUnavailable(f"{library.parent} cannot hold the compiled library: {error.strerror}") from error


def _build(compiler: str, folder: Path) -> Path:
    """Compile the sources side by side, and link them."""
    commands, objects = [], []
    for source in sorted(SOURCES.glob("*.cpp")):
        objects.append(str(folder / f"{source.stem}.o"))
        commands.append([compiler, *FLAGS, "-c", str(source), "-o", objects[-1]])
    with ThreadPoolExecutor() as threads:
        list(threads.map(_run, commands))
    library = folder / "step.so"
    _run([compiler, *FLAGS, "-shared", *objects, "-o", str(library)])
    return library


def _run(command: list[str]) -> bytes:
    try:
        result = subprocess.run(command, capture_output=True, check=False, timeout=COMPILE_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise NativeUnavailable(f"{command[0]} took more than {COMPILE_TIMEOUT_S} s") from error
    if result.returncode:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise NativeUnavailable(f"{command[0]} failed: {lines[0]}")
    return result.stdout

"""Finds the native library, or compiles it for this machine, once: later processes find it in the user's cache."""

import logging
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

from stoker_worker.errors import NativeUnavailable
from stoker_worker.kernels.native import prebuilt

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).with_name("src")
PREBUILT = Path(__file__).with_name("prebuilt")
COMPILERS = ("c++", "g++", "clang++")
# Sums must not be reordered: a row's result would then depend on the rows beside it. FMA contraction is the same for all of them.
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-pthread")
NATIVE = "-march=native"
COMPILE_TIMEOUT_S = 120


def library_path(cache: Path | None = None, shipped: Path = PREBUILT) -> Path:
    """The library: one that was shipped for processors like this one, else compiled, if this machine has none of these sources yet.

    cache    folder to keep it in; default: ~/.cache/stoker/native
    shipped  folder of libraries as `python -m stoker_worker.kernels.native` makes them; it may be missing
    Raises NativeUnavailable with what is missing or what the compiler said.
    """
    if found := prebuilt.find(shipped, source_digest(), prebuilt.this_processor()):
        return found
    compiler = _compiler()
    library = (cache or Path.home() / ".cache" / "stoker" / "native") / f"step-{_fingerprint(compiler)}.so"
    if not library.exists():
        logger.info("compiling the native step for this machine (once)")
        _compile(compiler, library, NATIVE)
    return library


def ship(folder: Path, machine: str) -> list[Path]:
    """Compile the library for every level of a kind of machine (x86_64, aarch64), for `library_path` to find where no compiler is.

    Raises NativeUnavailable.
    """
    compiler, made = _compiler(), []
    for level in prebuilt.levels(machine):
        made.append(folder / prebuilt.file_name(level, source_digest()))
        _compile(compiler, made[-1], level.flag)
    return made


def source_digest() -> str:
    """Changes with the sources and the flags."""
    digest = blake2b(" ".join(FLAGS).encode(), digest_size=8)
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


def _compiler() -> str:
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    raise NativeUnavailable(f"no C++ compiler ({', '.join(COMPILERS)}) is on the PATH; `apt install g++` brings one")


def _fingerprint(compiler: str) -> str:
    """Changes with the sources, the flags, the compiler's version and the processor's instruction sets."""
    macros = _run([compiler, NATIVE, "-dM", "-E", "-x", "c++", os.devnull])
    digest = blake2b(macros, digest_size=8)
    digest.update(source_digest().encode())
    return digest.hexdigest()


def _compile(compiler: str, library: Path, processor: str) -> None:
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            _build(compiler, Path(folder), processor).replace(library)  # at once: other processes may be looking for it
    except OSError as error:
        raise NativeUnavailable(f"{library.parent} cannot hold the compiled library: {error.strerror}") from error


def _build(compiler: str, folder: Path, processor: str) -> Path:
    """Compile the sources side by side, and link them."""
    flags = (*FLAGS, processor)
    commands, objects = [], []
    for source in sorted(SOURCES.glob("*.cpp")):
        objects.append(str(folder / f"{source.stem}.o"))
        commands.append([compiler, *flags, "-c", str(source), "-o", objects[-1]])
    with ThreadPoolExecutor() as threads:
        list(threads.map(_run, commands))
    library = folder / "step.so"
    _run([compiler, *flags, "-shared", *objects, "-o", str(library)])
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

"""Libraries that were compiled elsewhere: which of them this processor can run, and whether it is of these very sources."""

import logging
import platform
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Level:
    """Processors that have all of some features, by the kernel's names for them."""

    machine: str
    name: str
    features: frozenset[str]

    @property
    def flag(self) -> str:
        """What tells the compiler."""
        return f"-march={self.name}"


@dataclass(frozen=True, slots=True)
class Processor:
    """Of the machine that runs."""

    machine: str
    features: frozenset[str]


# The levels of the x86-64 ABI. The kernel says `abm` for LZCNT and `pni` for SSE3.
_V2 = frozenset("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3".split())
_V3 = _V2 | frozenset("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave".split())
_V4 = _V3 | frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split())
LEVELS = (
    Level("x86_64", "x86-64-v4", _V4),
    Level("x86_64", "x86-64-v3", _V3),
    Level("x86_64", "x86-64-v2", _V2),
    Level("aarch64", "armv8-a", frozenset()),
)


def levels(machine: str) -> list[Level]:
    """Of a kind of machine, the fastest first; empty if we ship none for it."""
    return [level for level in LEVELS if level.machine == machine]


def file_name(level: Level, source_digest: str) -> str:
    """Names the sources, so that a library of others is never taken for one of these."""
    return f"step-{level.name}-{source_digest}.so"


def find(folder: Path, source_digest: str, processor: Processor) -> Path | None:
    """The fastest library of these sources that the processor can run; None if none was shipped."""
    for level in levels(processor.machine):
        path = folder / file_name(level, source_digest)
        if level.features <= processor.features and path.is_file():
            return path
    if folder.is_dir():
        logger.warning("%s has no native library of these sources for this processor: it will be compiled", folder)
    return None


def this_processor(cpu_info: Path = CPU_INFO) -> Processor:
    """What the kernel tells of the machine; without that, nothing beyond its kind."""
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return Processor(platform.machine(), frozenset(flags.partition(":")[2].split()))

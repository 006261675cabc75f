"""How far a download has come, in words that do not change with every byte."""

from dataclasses import dataclass

STEP_PERCENT = 5  # a status that followed every byte would be nothing but writes
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


@dataclass(frozen=True, slots=True)
class Progress:
    """What the fetching step tells. `total_bytes` 0: it does not know yet."""

    bytes: int
    total_bytes: int


def in_words(progress: Progress) -> str:
    """For a status: "45 % of 12.3 GB"."""
    if not progress.total_bytes:
        return "asking what there is to download"
    percent = min(100, progress.bytes * 100 // progress.total_bytes) // STEP_PERCENT * STEP_PERCENT
    return f"{percent} % of {_size(progress.total_bytes)}"


def _size(amount: int) -> str:
    for unit, name in UNITS:
        if amount >= unit:
            return f"{amount / unit:.1f} {name}"
    return f"{amount / 1e3:.0f} kB"

"""The table that a benchmark prints."""

from rich.table import Table

from stoker_cli.bench.plan import Report
from stoker_cli.bench.results import CountedBy, Level, Spread

COLUMNS = (
    "load", "output tok/s", "req/s", "TTFT ms\np50 / p90 / p99", "ITL ms\np50 / p90 / p99",
    "end to end s\np50 / p90 / p99", "requests", "errors",
)  # fmt: skip


def table(report: Report) -> Table:
    """One row per level."""
    made = Table(title=f"{report.model} at {report.url}", header_style="bold")
    for column in COLUMNS:
        made.add_column(column, justify="left" if column == "load" else "right")
    for level in report.levels:
        made.add_row(*row(level))
    return made


def row(level: Level) -> tuple[str, ...]:
    """A level as text, in the order of COLUMNS."""
    return (
        level.load,
        f"{level.output_tokens_per_s:.1f}",
        f"{level.requests_per_s:.2f}",
        _spread(level.ttft, 1e3, 0 if level.ttft.p50 >= 0.1 else 1),
        _spread(level.itl, 1e3, 1),
        _spread(level.end_to_end, 1, 2),
        str(level.requests),
        str(sum(level.errors.values())),
    )


def footnotes(report: Report) -> list[str]:
    """What a reader must know to trust the table."""
    notes = []
    inputs = [level.input_tokens_mean for level in report.levels if level.input_tokens_mean is not None]
    if inputs:
        notes.append(f"input: {sum(inputs) / len(inputs):.0f} tokens on average, as the server counts them")
    counted = {source for level in report.levels for source in level.counted_by}
    if CountedBy.CHUNKS in counted:
        notes.append("the server reports no usage: output tokens are the pieces of text that arrived, perhaps too few")
    elif CountedBy.LIMIT in counted:
        notes.append("the server reports no usage: an answer that ended at its limit counts as that many tokens")
    busiest = max((level.client_cpu_share for level in report.levels), default=0.0)
    notes.append(f"this client took up to {busiest:.0%} of a core")
    for level in report.levels:
        notes += [f"{level.load}: {count} × {error}" for error, count in level.errors.items()]
    return notes


def _spread(spread: Spread, scale: float, digits: int) -> str:
    return " / ".join(f"{value * scale:.{digits}f}" for value in (spread.p50, spread.p90, spread.p99))

"""The table of stories: bench/results/DATE-e2e.json, and its part of docs/benchmarks.md."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.document import markdown_table, replace_part
from bench.machine import machine, revision

Measure = Callable[[str, object], None]  # pytest's record_property
Story = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def write(stories: list[Story]) -> Path:
    """Write both; returns the results' path. Stories that were not told now stay as they were recorded today."""
    path = ROOT / "bench" / "results" / f"{dt.datetime.now(dt.UTC):%Y-%m-%d}-e2e.json"
    before: list[Story] = json.loads(path.read_text())["stories"] if path.exists() else []
    told = {(row["story"], row["test"]): row for row in before}
    told |= {(row["story"], row["test"]): row | {"revision": revision()} for row in stories}
    path.write_text(json.dumps({"machine": machine(), "stories": [*told.values()]}, indent=1) + "\n")
    rows = [[row["story"], row["outcome"], f"{row['seconds']:.0f}", _words(row["measured"])] for row in told.values()]
    replace_part(ROOT / "docs" / "benchmarks.md", "e2e", markdown_table(["story", "", "seconds", "measured"], rows))
    return path


def _words(measured: dict[str, Any]) -> str:
    return ", ".join(
        f"{name.removesuffix('_s').replace('_', ' ')} {value}{' s' if name.endswith('_s') else ''}"
        for name, value in measured.items()
    )

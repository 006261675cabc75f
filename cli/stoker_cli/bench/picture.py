"""A benchmark as a picture: throughput and latencies over load."""

from pathlib import Path

from stoker_cli.bench.plan import Report
from stoker_cli.bench.results import Spread
from stoker_cli.errors import BadInput


def draw(report: Report, path: Path) -> None:
    """Write a PNG (or what the suffix names). Raises BadInput if it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    throughput, ttft, itl = figure.subplots(1, 3)
    loads = [level.load for level in report.levels]
    throughput.plot(loads, [level.output_tokens_per_s for level in report.levels], marker="o")
    throughput.set_title("output tokens/s")
    for axes, title, spreads in (
        (ttft, "time to first token, ms", [level.ttft for level in report.levels]),
        (itl, "inter-token latency, ms", [level.itl for level in report.levels]),
    ):
        for name in ("p50", "p90", "p99"):
            axes.plot(loads, [_ms(spread, name) for spread in spreads], marker="o", label=name)
        axes.set_title(title)
        axes.legend()
    for axes in (throughput, ttft, itl):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.suptitle(f"{report.model}, {report.settings['input_tokens']} in / {report.settings['output_tokens']} out")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot write the picture {path}: {error}") from None


def _ms(spread: Spread, name: str) -> float:
    return float(getattr(spread, name)) * 1e3

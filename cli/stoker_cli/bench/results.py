"""From timed requests to figures. Times are seconds, rates are per second."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class CountedBy(StrEnum):
    """Where the number of a request's output tokens comes from, best first."""

    USAGE = "usage"  # the server said so
    LIMIT = "limit"  # it ended for reaching the limit that was asked for
    CHUNKS = "chunks"  # pieces of text that arrived; may be too few where a server sends several tokens as one


@dataclass(frozen=True, slots=True)
class Timing:
    """One request. The three clocks are time.perf_counter() of this process.

    pieces   arrival of each piece of text
    error    why it failed; "" for a request that was answered
    """

    sent_s: float
    ended_s: float
    pieces: tuple[float, ...] = ()
    input_tokens: int | None = None
    output_tokens: int = 0
    counted_by: CountedBy = CountedBy.CHUNKS
    error: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and percentiles of one measure in seconds; all 0 where there is nothing to measure."""

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise `values`, in any order."""
        if not values:
            return cls()
        ordered = sorted(values)
        return cls(sum(ordered) / len(ordered), **{name: quantile(ordered, q) for name, q in QUANTILES.items()})


@dataclass(frozen=True, slots=True)
class Level:
    """What one level of load gave.

    load               "c=8": requests kept in flight; "2/s": arrivals per second
    wall_s             first request sent to last one ended
    itl                gaps between pieces of text within a request
    client_cpu_share   CPU time of this process over wall_s; 1.0 is one core
    """

    load: str
    requests: int
    errors: dict[str, int]
    wall_s: float
    input_tokens_mean: float | None
    output_tokens: int
    counted_by: dict[str, int]
    output_tokens_per_s: float
    requests_per_s: float
    ttft: Spread
    itl: Spread
    end_to_end: Spread
    client_cpu_share: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of ascending values, linear between neighbours (numpy's default, Hyndman and Fan's type 7)."""
    position = q * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def median(values: Sequence[float]) -> float:
    """The middle of at least one value."""
    return quantile(sorted(values), 0.5)


def summarise(load: str, timings: Sequence[Timing], client_cpu_s: float) -> Level:
    """Figures of one level. Failed requests count as errors and in no other figure."""
    answered = [timing for timing in timings if not timing.error]
    wall_s = max((t.ended_s for t in timings), default=0.0) - min((t.sent_s for t in timings), default=0.0)
    inputs = [t.input_tokens for t in answered if t.input_tokens is not None]
    output_tokens = sum(t.output_tokens for t in answered)
    per_s = 1 / wall_s if wall_s > 0 else 0.0
    return Level(
        load=load,
        requests=len(timings),
        errors=dict(Counter(t.error for t in timings if t.error)),
        wall_s=wall_s,
        input_tokens_mean=sum(inputs) / len(inputs) if inputs else None,
        output_tokens=output_tokens,
        counted_by=dict(Counter(str(t.counted_by) for t in answered)),
        output_tokens_per_s=output_tokens * per_s,
        requests_per_s=len(answered) * per_s,
        ttft=Spread.of([t.pieces[0] - t.sent_s for t in answered if t.pieces]),
        itl=Spread.of([b - a for t in answered for a, b in zip(t.pieces, t.pieces[1:], strict=False)]),
        end_to_end=Spread.of([t.ended_s - t.sent_s for t in answered]),
        client_cpu_share=client_cpu_s * per_s,
    )

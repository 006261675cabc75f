"""What an attempt used: the one record that billing, limits and audits are made from."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    CLIENT_GONE = "client_gone"  # the client closed the connection first
    DEADLINE = "deadline"  # the request's own time was up
    MOVED = "moved"  # continued as the next attempt on another worker
    FAILED = "failed"  # ended with an error after it was accepted
    SHUTDOWN = "shutdown"  # the gateway stopped while it ran


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The wire's cumulative counters of one attempt, in tokens and microseconds.

    `completion` holds what this attempt made; tokens that an earlier attempt delivered are not in it.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    drafted: int = 0
    accepted: int = 0
    queue_us: int = 0
    prefill_us: int = 0
    decode_us: int = 0


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One attempt, from the moment a worker accepted it to its end. Unique by (request_id, attempt)."""

    request_id: str
    attempt: int
    account: str
    key_id: str
    model: str  # "<model id>@<revision>"
    outcome: Outcome
    started_unix_ms: int
    ended_unix_ms: int
    counts: TokenCounts
    deployment_uid: str = ""
    adapter: str = ""
    region: str = ""
    pool: str = ""
    tier: str = ""
    audio_ms: int = 0
    images: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values for a line of a file, `counts` flattened beside the rest."""
        row = {name: getattr(self, name) for name in _EVENT_FIELDS}  # asdict copies deeply, for ten times the price
        del row["counts"]
        return row | {name: getattr(self.counts, name) for name in _COUNT_FIELDS}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "UsageEvent":
        """The inverse of `to_json`. Raises KeyError or TypeError for a row that is not one."""
        rest = dict(row)
        counts = TokenCounts(**{name: rest.pop(name) for name in _COUNT_FIELDS})
        return cls(**{**rest, "counts": counts, "outcome": Outcome(rest["outcome"])})


_EVENT_FIELDS = tuple(f.name for f in fields(UsageEvent))
_COUNT_FIELDS = tuple(f.name for f in fields(TokenCounts))

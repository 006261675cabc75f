"""Whether a certificate is kept or issued anew. Its Secret's metadata is enough to tell."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from stoker_core import labels

NOT_AFTER = labels.PREFIX + "not-after"
ISSUER = labels.PREFIX + "issuer"
RENEW_WHEN_LEFT = 1 / 3


class Step(StrEnum):
    """What is done about a certificate's Secret."""

    ISSUE = "Issue"  # there is none
    RENEW = "Renew"  # it ends soon, has another issuer, or is of another owner of ours
    KEEP = "Keep"
    REFUSE = "Refuse"  # a Secret of this name is not ours: it is not touched


@dataclass(frozen=True, slots=True)
class Found:
    """A Secret as its metadata tells of it. `ours`: its labels say that the operator made it."""

    ours: bool
    owner_uid: str
    issuer: str
    not_after: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What it should be. `issuer`: the authority's fingerprint."""

    owner_uid: str
    issuer: str
    lifetime: dt.timedelta


def decide(found: Found | None, wanted: Wanted, now: dt.datetime) -> Step:
    """What to do now."""
    if found is None:
        return Step.ISSUE
    if not found.ours:
        return Step.REFUSE
    if (found.owner_uid, found.issuer) != (wanted.owner_uid, wanted.issuer):
        return Step.RENEW
    return Step.KEEP if _ends(found.not_after) - now > wanted.lifetime * RENEW_WHEN_LEFT else Step.RENEW


def _ends(not_after: str) -> dt.datetime:
    """A time that cannot be read has passed."""
    try:
        return dt.datetime.fromisoformat(not_after)
    except ValueError:
        return dt.datetime.min.replace(tzinfo=dt.UTC)

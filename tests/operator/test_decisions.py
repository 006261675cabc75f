"""Who leads, which certificates are issued, and what a list brings to light."""

import datetime as dt

import pytest

from stoker_operator.cluster.records import Ref
from stoker_operator.pki.authority import Authority
from stoker_operator.pki.decision import Found, Step, Wanted, decide
from stoker_operator.planning import lease
from stoker_operator.planning.lease import Seen
from stoker_operator.resync import compare

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
WANTED = Wanted("u", "ca-1", dt.timedelta(days=90))


@pytest.mark.parametrize(
    ("seen", "now_s", "step"),
    [
        pytest.param(None, 0, lease.Step.CREATE, id="there is none"),
        pytest.param(Seen("me", "t", 0), 100, lease.Step.RENEW, id="mine"),
        pytest.param(Seen("", "t", 0), 0, lease.Step.TAKE, id="given back"),
        pytest.param(Seen("other", "t", 0), 9, lease.Step.WAIT, id="another's"),
        pytest.param(Seen("other", "t", 0), 11, lease.Step.TAKE, id="another's, silent for too long"),
    ],
)
def test_who_leads(seen: Seen | None, now_s: float, step: lease.Step) -> None:
    assert lease.decide("me", seen, now_s, 10) is step


def test_silence_is_counted_from_when_we_saw_it_last_change() -> None:
    """Clocks of two machines are never compared."""
    first = lease.see(None, "other", "2001", 50)
    assert lease.see(first, "other", "2001", 58) == first
    assert lease.see(first, "other", "2002", 58) == Seen("other", "2002", 58)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        pytest.param(None, Step.ISSUE, id="there is none"),
        pytest.param(Found(True, "u", "ca-1", "2026-08-01T00:00:00+00:00"), Step.KEEP, id="good for long"),
        pytest.param(Found(True, "u", "ca-1", "2026-06-30T00:00:00+00:00"), Step.RENEW, id="less than a third is left"),
        pytest.param(Found(True, "u", "ca-1", "2020-01-01T00:00:00+00:00"), Step.RENEW, id="ended"),
        pytest.param(Found(True, "u", "ca-0", "2026-08-01T00:00:00+00:00"), Step.RENEW, id="of another authority"),
        pytest.param(Found(True, "v", "ca-1", "2026-08-01T00:00:00+00:00"), Step.RENEW, id="of a deployment that was"),
        pytest.param(Found(True, "u", "ca-1", "soon"), Step.RENEW, id="nobody knows until when"),
        pytest.param(Found(False, "", "", ""), Step.REFUSE, id="somebody else's Secret"),
    ],
)
def test_certificates(found: Found | None, step: Step) -> None:
    assert decide(found, WANTED, NOW) is step


def test_an_authority_survives_its_secret() -> None:
    made = Authority.create(NOW)
    loaded = Authority.load(made.pem, made.key_pem)
    assert loaded.fingerprint == made.fingerprint
    pair = loaded.issue("spiffe://stoker.dev/worker/u", server=True, now=NOW, lifetime=dt.timedelta(days=1))
    assert pair.not_after == NOW + dt.timedelta(days=1)
    with pytest.raises(ValueError, match="does not belong"):
        Authority.load(made.pem, Authority.create(NOW).key_pem)


def item(uid: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": uid, "uid": uid, "resourceVersion": str(version)}}


@pytest.mark.parametrize(
    ("listed", "cached", "newer", "gone"),
    [
        pytest.param([("a", 5)], {"a": 5}, [], [], id="nothing missed"),
        pytest.param([("a", 7)], {"a": 5}, ["a"], [], id="a change"),
        pytest.param([("a", 5), ("b", 6)], {"a": 5}, ["b"], [], id="a new object"),
        pytest.param([], {"a": 5}, [], ["a"], id="an end"),
        pytest.param([], {"a": 11}, [], [], id="made after the list"),
        pytest.param([("a", 5)], {"a": 8}, [], [], id="the cache knows better"),
    ],
)
def test_what_a_list_brings_to_light(
    listed: list[tuple[str, int]], cached: dict[str, int], newer: list[str], gone: list[str]
) -> None:
    refs = {uid: Ref("", uid, uid, version) for uid, version in cached.items()}
    missed = compare([item(*one) for one in listed], 10, refs)
    assert [one["metadata"]["uid"] for one in missed.newer] == newer
    assert [ref.uid for ref in missed.gone] == gone

"""Usage events survive a file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_core.usage import Outcome, TokenCounts, UsageEvent

COUNTS = st.builds(TokenCounts, *[st.integers(0, 2**40)] * 9)
EVENTS = st.builds(
    UsageEvent,
    request_id=st.text(),
    attempt=st.integers(1, 9),
    account=st.text(),
    key_id=st.text(),
    model=st.text(),
    outcome=st.sampled_from(Outcome),
    started_unix_ms=st.integers(0, 2**50),
    ended_unix_ms=st.integers(0, 2**50),
    counts=COUNTS,
    extra=st.dictionaries(st.text(), st.text(), max_size=3),
)


@given(EVENTS)
def test_an_event_comes_back_from_json_as_it_was(event: UsageEvent) -> None:
    assert UsageEvent.from_json(json.loads(json.dumps(event.to_json()))) == event


@pytest.mark.parametrize("missing", ["prompt", "request_id", "outcome"])
def test_a_row_without_a_field_is_refused(missing: str) -> None:
    row = UsageEvent("r", 1, "a", "k", "m@1", Outcome.COMPLETED, 1, 2, TokenCounts()).to_json()
    del row[missing]
    with pytest.raises((KeyError, TypeError)):
        UsageEvent.from_json(row)

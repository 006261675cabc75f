"""What of the gateways' talk reaches a status, and when."""

from stoker_operator.api.deployment import Demand
from stoker_operator.demand.book import ADOPT_S, SHOWN_EVERY_S, DemandBook


def test_gateways_are_added_up_and_one_that_is_lost_counts_no_more() -> None:
    book = DemandBook(0.0)
    book.hear(1, {"a": Demand(held=1, in_flight=2, oldest_ms=50)})
    book.hear(2, {"a": Demand(held=3, in_flight=4, oldest_ms=20), "b": Demand(in_flight=1)})
    assert book.total("a") == Demand(held=4, in_flight=6, oldest_ms=50)
    book.lost(1)
    assert book.total("a") == Demand(held=3, in_flight=4, oldest_ms=20)
    assert book.total("nobody's") == Demand()


def test_waiting_is_shown_at_once_and_all_else_now_and_then() -> None:
    book = DemandBook(0.0)
    book.hear(1, {"a": Demand(in_flight=1)})
    assert book.due(0.0) == ["a"]
    book.hear(1, {"a": Demand(in_flight=2)})
    assert book.due(SHOWN_EVERY_S - 1) == []
    assert book.due(SHOWN_EVERY_S) == ["a"]
    book.hear(1, {"a": Demand(held=1, in_flight=2)})
    assert book.due(SHOWN_EVERY_S + 0.5) == ["a"], "somebody begins to wait"
    book.hear(1, {})
    assert book.due(SHOWN_EVERY_S + 0.6) == ["a"], "nobody waits any more"
    assert book.due(10 * SHOWN_EVERY_S) == []
    assert book.shown("a", None, 0.0) == Demand()


def test_a_status_stands_after_a_restart_until_gateways_had_time_to_speak() -> None:
    book, before = DemandBook(100.0), {"held": 0, "inFlight": 3, "oldestMs": 0}
    assert book.shown("a", before, 101.0) == Demand(in_flight=3)
    assert book.shown("a", before, 100.0 + ADOPT_S) == Demand()
    assert book.shown("a", None, 100.0 + ADOPT_S) is None
    book.hear(1, {"a": Demand(in_flight=7)})
    book.due(102.0)
    assert book.shown("a", before, 102.0) == Demand(in_flight=7)

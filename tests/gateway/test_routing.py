"""The routing table and the choice of an endpoint, as tables of values."""

from collections import Counter
from typing import Any

import pytest

from stoker_core.names import ModelRef
from stoker_gateway.routing.choose import Load, choose, choose_variant, routing_key
from stoker_gateway.routing.table import Endpoint, build_table


def endpoint(address: str, model: str = "m", revision: str = "r1", **changes: Any) -> Endpoint:
    facts: dict[str, Any] = {"context_length": 512, "vocab_size": 1000, "max_logprobs": 20, "tokenizer_digest": b"d"}
    return Endpoint(address=address, model=ModelRef(model, revision), **{**facts, **changes})


def addresses(endpoints: Any) -> list[str]:
    return [endpoint.address for endpoint in endpoints]


def test_endpoints_become_models_revisions_and_names() -> None:
    table = build_table(
        [
            endpoint("w2", generation=1),
            endpoint("w1", generation=1, aliases=("small",), created_unix_s=5),
            endpoint("w3", revision="r2", generation=2, created_unix_s=9),
            endpoint("w3", model="accounts/team/models/other"),
        ],
        {},
    )
    assert list(table.shared) == ["accounts/team/models/other", "m"]
    entry = table.resolve("small", "local")
    assert entry is table.resolve("m", "local") is table.shared["m"]
    assert entry
    assert [(variant.model.revision, addresses(variant.endpoints)) for variant in entry.variants] == [
        ("r2", ["w3"]),
        ("r1", ["w1", "w2"]),
    ]
    assert (entry.owner, entry.created_unix_s) == ("stoker", 0)
    assert table.shared["accounts/team/models/other"].owner == "team"
    assert table.resolve("unheard of", "local") is None
    assert build_table([], {"a": "m"}).resolve("a", "local") is None


@pytest.mark.parametrize(
    ("reported", "aliases", "name", "model"),
    [
        ({"m": ("x",)}, {}, "x", "m"),
        ({"m": ("x",)}, {"y": "x"}, "y", "m"),
        ({"m": ("x",), "n": ()}, {"x": "n"}, "x", "n"),
        ({"m": ("n",), "n": ()}, {}, "n", "n"),
        ({"m": (), "n": ()}, {"n": "m"}, "n", "n"),
        ({"m": ("x",), "n": ("x",)}, {}, "x", "m"),
        ({"m": ()}, {"x": "gone"}, "x", None),
    ],
    ids=[
        "a worker's alias",
        "an alias of an alias",
        "the administrator's wins",
        "an id wins over a worker's alias",
        "an id wins over the administrator's",
        "two models under one alias",
        "an alias of nothing",
    ],
)
def test_names_lead_to_models(
    reported: dict[str, tuple[str, ...]], aliases: dict[str, str], name: str, model: str | None
) -> None:
    table = build_table([endpoint("w", model=m, aliases=a) for m, a in reported.items()], aliases)
    entry = table.resolve(name, "local")
    assert (entry.model_id if entry else None) == model


def test_the_newest_revision_with_a_ready_endpoint_answers() -> None:
    old, new = endpoint("w1", generation=1), endpoint("w2", revision="r2", generation=2)
    entry = build_table([old, new], {}).shared["m"]
    ready, away = Load(ready=True), Load()
    assert choose_variant(entry, {old: ready, new: ready}).model.revision == "r2"
    assert choose_variant(entry, {old: ready, new: away}).model.revision == "r1"
    assert choose_variant(entry, {}).model.revision == "r2"


def test_only_ready_endpoints_that_have_not_failed_are_chosen() -> None:
    one, two, three = endpoint("w1"), endpoint("w2"), endpoint("w3")
    loads = {one: Load(ready=True), two: Load(ready=True), three: Load()}
    assert choose([one, two, three], b"k", loads, excluded={"w1"}) is two
    assert choose([one, two, three], b"k", loads, excluded={"w1", "w2"}) is None
    assert choose([], b"k", {}) is None


def test_the_own_region_is_preferred_while_it_has_a_ready_endpoint() -> None:
    here, there = endpoint("w1", region="here"), endpoint("w2", region="there")
    both = {here: Load(ready=True, in_flight=99), there: Load(ready=True)}
    assert choose([here, there], b"k", both, region="here") is here
    assert choose([here, there], b"k", {**both, here: Load()}, region="here") is there


def test_equal_beginnings_prefer_one_endpoint_and_others_spread() -> None:
    endpoints = [endpoint(f"w{i}") for i in range(4)]
    idle = {e: Load(ready=True) for e in endpoints}
    hits = Counter(choose(endpoints, routing_key([i] * 128, b""), idle) for i in range(400))
    assert len({choose(endpoints, routing_key([1] * 128 + [i], b""), idle) for i in range(100)}) == 1
    assert len(hits) == 4
    assert min(hits.values()) > 60


def test_losing_an_endpoint_moves_only_its_own_prompts() -> None:
    endpoints = [endpoint(f"w{i}") for i in range(4)]
    idle = {e: Load(ready=True) for e in endpoints}
    gone = endpoints[2]
    for i in range(100):
        key = routing_key([i] * 16, b"")
        before = choose(endpoints, key, idle)
        after = choose(endpoints, key, {**idle, gone: Load()})
        assert before is gone or after is before


def test_no_endpoint_gets_much_more_than_the_mean() -> None:
    endpoints = [endpoint(f"w{i}") for i in range(4)]
    counts = dict.fromkeys(endpoints, 0)
    for _ in range(200):
        chosen = choose(endpoints, b"k" * 16, {e: Load(ready=True, in_flight=n) for e, n in counts.items()})
        assert chosen
        counts[chosen] += 1
    assert max(counts.values()) <= 63, "1.25 times the mean of 50, rounded up"


def test_a_key_names_the_first_units_and_the_salt() -> None:
    assert routing_key([1] * 15, b"") == routing_key([2] * 3, b""), "too short for a unit"
    assert routing_key([1] * 16, b"") != routing_key([2] * 16, b"")
    assert routing_key([1] * 16, b"a") != routing_key([1] * 16, b"b")
    assert routing_key([1] * 128 + [2] * 64, b"") == routing_key([1] * 128 + [3] * 64, b"")

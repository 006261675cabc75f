from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_gateway.text.stop import StopMatcher


def naive(stops: list[str], text: str) -> tuple[str, bool]:
    """The definition: cut at the first complete stop; of several that end together the longest counts."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if stop and text[:end].endswith(stop)]
        if found:
            return text[: end - max(map(len, found))], True
    return text, False


def stream(stops: list[str], chunks: list[str]) -> tuple[str, bool]:
    matcher = StopMatcher(stops)
    emitted = ""
    for chunk in chunks:
        text, stopped = matcher.push(chunk)
        emitted += text
        if stopped:
            assert matcher.push("more") == ("", True)
            assert matcher.finish() == ""
            return emitted, True
    return emitted + matcher.finish(), False


@pytest.mark.parametrize(
    ("stops", "chunks", "expected"),
    [
        ([], ["anything", " goes"], ("anything goes", False)),
        ([""], ["anything"], ("anything", False)),
        (["\n\n"], ["one\n", "\ntwo"], ("one", True)),
        (["\n\n"], ["one\n", "two\n"], ("one\ntwo\n", False)),
        (["STOP"], ["a S", "T", "O", "P b"], ("a ", True)),
        (["STOP"], ["STO", "STOP"], ("STO", True)),
        (["abc", "bc"], ["xab", "c"], ("x", True)),
        (["abcd", "b"], ["ab", "cd"], ("a", True)),
        (["aab"], ["aaa", "ab"], ("aa", True)),
        (["世界"], ["你好世", "界！"], ("你好", True)),
        (["]^\\-["], ["x]^", "\\-[y"], ("x", True)),
        (["end"], ["", "e", "", "nd"], ("", True)),
    ],
)
def test_text_ends_before_the_first_complete_stop(
    stops: list[str], chunks: list[str], expected: tuple[str, bool]
) -> None:
    assert stream(stops, chunks) == expected


def test_only_what_may_become_a_stop_is_held_back() -> None:
    matcher = StopMatcher(["</s>", "User:"])
    assert matcher.push("a < b </") == ("a < b ", False)
    assert matcher.push("U") == ("</", False)
    assert matcher.push("s") == ("", False)
    assert matcher.push("ual U") == ("Usual ", False)
    assert matcher.finish() == "U"


letters = st.text("ab", max_size=40)


@settings(deadline=None)
@given(stops=st.lists(st.text("ab", max_size=5), max_size=4), text=letters, data=st.data())
def test_every_split_gives_the_answer_for_the_whole_text(stops: list[str], text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    assert stream(stops, chunks) == naive(stops, text)


@settings(deadline=None)
@given(stops=st.lists(st.text(min_size=1, max_size=3), max_size=3), parts=st.lists(st.text(max_size=5), max_size=5))
def test_any_character_may_be_part_of_a_stop(stops: list[str], parts: list[str]) -> None:
    chunks = [part for each in zip(parts, [*stops, *parts], strict=False) for part in each]
    assert stream(stops, chunks) == naive(stops, "".join(chunks))


def test_a_stop_that_nearly_matches_everywhere_takes_linear_time() -> None:
    stop = "a" * 2000 + "b"
    text = "a" * 300_000
    emitted, stopped = stream([stop], [text[start : start + 4] for start in range(0, len(text), 4)])
    assert (len(emitted), stopped) == (len(text), False)
    assert stream([stop], [text, "b tail"]) == ("a" * (len(text) - 2000), True)

"""The small decisions: when to try again, what is the right content, how numbers read."""

import hashlib
import threading

import pytest
from tests.worker.fetch.conftest import noise

from stoker_worker.errors import FetchInterrupted, FetchStopped
from stoker_worker.fetch.digests import Check, Digest, Kind
from stoker_worker.fetch.folder import in_units
from stoker_worker.fetch.manifest import Entry, Manifest
from stoker_worker.fetch.patience import Patience, Trying
from stoker_worker.fetch.progress import line
from stoker_worker.fetch.store import first_byte

DATA = noise(1_000_000)


@pytest.mark.parametrize(
    ("failures", "asked_s", "wait_s"),
    [
        (1, None, 0.5),
        (2, None, 1),
        (4, None, 4),
        (7, None, 30),
        (8, None, None),
        (1, 3, 3),
        (1, 9999, 300),
        (8, 0, None),
    ],
)
def test_waits_double_up_to_a_bound(failures: int, asked_s: float | None, wait_s: float | None) -> None:
    assert Patience().wait_s(failures, asked_s, luck=1) == wait_s


def test_luck_spreads_those_who_failed_together() -> None:
    assert [Patience().wait_s(3, None, luck) for luck in (0, 0.5, 1)] == [1, 1.5, 2]


def test_who_comes_further_begins_to_count_anew() -> None:
    reached, failures = iter([0, 10, 20, 30, 30, 30, 30]), []

    def fail() -> None:
        raise FetchInterrupted("no", retry_after_s=0)

    with pytest.raises(FetchInterrupted, match=r"what: no \(3 tries in a row\)"):
        Trying(Patience(attempts=3), threading.Event(), failures.append).run("what", fail, lambda: next(reached))
    assert [text[-14:] for text in failures] == ["failure 1 of 3)"[-14:]] * 3 + ["failure 2 of 3)"[-14:]]


def test_a_stop_ends_the_wait() -> None:
    stop = threading.Event()

    def fail() -> None:
        raise FetchInterrupted("no", retry_after_s=250)

    with pytest.raises(FetchStopped):
        Trying(Patience(), stop, lambda _: stop.set()).run("what", fail)


def parts_etag(part_bytes: int) -> str:
    parts = [hashlib.md5(DATA[at : at + part_bytes]).digest() for at in range(0, len(DATA), part_bytes)]
    return f"{hashlib.md5(b''.join(parts)).hexdigest()}-{len(parts)}"


@pytest.mark.parametrize(
    "digest",
    [
        Digest(Kind.SHA256, hashlib.sha256(DATA).hexdigest()),
        Digest(Kind.GIT_SHA1, hashlib.sha1(b"blob 1000000\0" + DATA).hexdigest()),
        Digest(Kind.MD5, hashlib.md5(DATA).hexdigest()),
        Digest(Kind.SIZE),
        *(Digest(Kind.MD5_PARTS, parts_etag(size), size) for size in (7_001, 250_000, 300_001, 1_000_000, 2_000_000)),
    ],
)
@pytest.mark.parametrize("step", [1_000_000, 65_537])
def test_content_is_checked(digest: Digest, step: int) -> None:
    right, wrong, short = (Check(len(DATA), digest) for _ in range(3))
    for at in range(0, len(DATA), step):
        right.update(DATA[at : at + step])
        wrong.update(memoryview(DATA[at : at + step][::-1]))
        short.update(DATA[at : at + step][:-1])
    assert (right.passes(), wrong.passes(), short.passes()) == (True, digest.kind is Kind.SIZE, False)
    assert right.sha256 == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("status", "content_range", "first"),
    [(200, "", 0), (206, "bytes 7-9/10", 7), (206, "bytes 0-9/10", None), (206, "", None), (206, "lines 7-9/10", None), (204, "", None)],
)  # fmt: skip
def test_where_an_answer_begins(status: int, content_range: str, first: int | None) -> None:
    assert first_byte(status, content_range, 7) == first


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "files": [{}]}', '{"version": 1, "files": [], "x": 1}']
)
def test_what_is_no_manifest(text: str) -> None:
    assert Manifest.from_json(text) is None


def test_a_manifest_reads_back() -> None:
    made = Manifest("hf://a/b", "v1", "abc", (Entry("config.json", 2, "00", "git-sha1:11"),))
    assert Manifest.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1234, "1.23 kB"), (1_500_000_000, "1.5 GB"), (10**18, "1000000 TB")],
)
def test_bytes_as_people_read_them(count: int, text: str) -> None:
    assert in_units(count) == text


def test_a_line_of_progress() -> None:
    counts = {"bytes": 3_100_000_000, "total_bytes": 15_000_000_000, "files_done": 2, "files": 9}
    assert line(counts, 210e6) == "3.1 GB of 15 GB (20 %), 2 of 9 files, 210 MB/s"

"""hf://: a real process fetches from a real HTTP server that behaves like a hub, well and badly."""

import hashlib
import resource
import signal
import socket
from pathlib import Path

import pytest
from tests.worker.fetch.conftest import TOKEN, WANTED, Fetcher, noise, progress
from tests.worker.fetch.faults import Cut, Flip, Gate, Refuse, Whole
from tests.worker.fetch.hub import COMMIT, SIGNATURE, Hub

SOURCE = "hf://owner/name"
BIG = "model-1.safetensors"


def here(fetch: Fetcher, hub: Hub, names: set[str] = WANTED) -> bool:
    """Exactly these files and a manifest, with the hub's content."""
    assert fetch.files() == names | {"stoker-manifest.json"}
    return all((fetch.to / name).read_bytes() == hub.data(name) for name in names)


def test_what_the_model_needs_comes_and_nothing_else(fetch: Fetcher, hub: Hub) -> None:
    run = fetch.alone(SOURCE, f"--revision={COMMIT}", f"--endpoint={hub.url}")
    assert (run.code, here(fetch, hub)) == (0, True)
    assert run.last.startswith(f"stoker fetch: fetched {SOURCE} at {COMMIT[:12]}: 7 files, 6.1 MB in ")
    manifest = fetch.manifest()
    assert (manifest["source"], manifest["revision"], manifest["commit"]) == (SOURCE, COMMIT, COMMIT)
    entries = {entry["name"]: entry for entry in manifest["files"]}
    assert {name: entry["sha256"] for name, entry in entries.items()} == {
        name: hashlib.sha256(hub.data(name)).hexdigest() for name in WANTED
    }
    assert {name: entry["digest"].partition(":")[0] for name, entry in entries.items()} == {
        name: "sha256" if name.startswith("model-") else "git-sha1" for name in WANTED
    }
    assert not set(hub.faults.bytes) - WANTED


def test_a_second_run_asks_nobody(fetch: Fetcher, hub: Hub) -> None:
    fetch(SOURCE, f"--endpoint={hub.url}")
    asked = {name: len(times) for name, times in hub.faults.asked.items()}
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    assert (run.code, run.last) == (
        0,
        f"stoker fetch: {SOURCE} at {COMMIT[:12]} is here already: 7 files, 6.1 MB in {fetch.to}",
    )
    assert {name: len(times) for name, times in hub.faults.asked.items()} == asked


def test_a_file_that_was_cut_afterwards_comes_again(fetch: Fetcher, hub: Hub) -> None:
    fetch(SOURCE, f"--endpoint={hub.url}")
    with (fetch.to / BIG).open("r+b") as file:
        file.truncate(1000)
    assert fetch(SOURCE, f"--endpoint={hub.url}").code == 0
    assert here(fetch, hub)
    assert hub.faults.bytes["model-2.safetensors"] == 2_000_000, "what was whole is read again here, not fetched"


def test_another_revision_takes_the_place_of_the_first(fetch: Fetcher, hub: Hub) -> None:
    fetch(SOURCE, f"--endpoint={hub.url}")
    (fetch.to / "notes.txt").write_text("somebody's own")
    hub.files = {
        "config.json": b"[]",
        "tokenizer.json": b"{}",
        "model.safetensors": noise(4_000_000, 9),
        BIG: noise(4_000_000, 8),
    }
    assert fetch(SOURCE, f"--revision={COMMIT}", f"--endpoint={hub.url}").code == 0
    (fetch.to / "notes.txt").unlink()  # raises if the fetch removed it
    assert here(fetch, hub, {"config.json", "tokenizer.json", "model.safetensors"})


@pytest.mark.parametrize("after", [1, 1_500_000, 3_999_999])
def test_killed_at_any_byte_it_goes_on_from_there(fetch: Fetcher, hub: Hub, after: int) -> None:
    gate = Gate(after)
    hub.faults.next[BIG] = [gate]
    process = fetch.start(SOURCE, f"--endpoint={hub.url}", "--parallel=1")
    part = [*fetch.to.glob(f".fetch/{BIG}.*.part")]

    def reached() -> bool:
        part[:] = fetch.to.glob(f".fetch/{BIG}.*.part")
        return bool(part) and part[0].stat().st_size == after

    fetch.kill_when(process, reached)
    assert process.returncode == -signal.SIGKILL
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    assert (run.code, here(fetch, hub)) == (0, True)
    assert hub.faults.asked[BIG][-1].get("range") == f"bytes={after}-"
    assert hub.faults.bytes[BIG] == 4_000_000, "no byte twice"
    gate.open.set()


def test_a_stop_is_told_and_loses_nothing(fetch: Fetcher, hub: Hub, free_port: int) -> None:
    gate = Gate(2_500_000)
    hub.faults.next[BIG] = [gate]
    process = fetch.start(SOURCE, f"--endpoint={hub.url}", f"--progress-listen=127.0.0.1:{free_port}")
    while not list(fetch.to.glob(f".fetch/{BIG}.*.part")) or progress(free_port)["files_done"] < 6:
        assert process.poll() is None
    process.terminate()
    text, _ = process.communicate(timeout=30)
    gate.open.set()
    assert process.returncode == 1
    assert text.splitlines()[-1] == (
        "stoker fetch: stopped; what was fetched stays, and the next start goes on from here"
    )
    assert fetch(SOURCE, f"--endpoint={hub.url}").code == 0
    assert hub.faults.bytes["model-2.safetensors"] == 2_000_000


def test_progress_is_served_while_it_fetches(fetch: Fetcher, hub: Hub, free_port: int) -> None:
    gate = Gate(3_000_000)
    hub.faults.next[BIG] = [gate]
    process = fetch.start(SOURCE, f"--endpoint={hub.url}", f"--progress-listen=127.0.0.1:{free_port}")
    while not fetch.to.exists():
        assert process.poll() is None
    total = sum(len(hub.data(name)) for name in WANTED)
    while (seen := progress(free_port))["files_done"] < 6:
        assert process.poll() is None
    assert (seen["total_bytes"], seen["files"]) == (total, 7)
    assert total - 4_000_000 <= seen["bytes"] <= total - 1_000_000
    gate.open.set()
    process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        ([Cut(1_500_000)], 2),
        ([Cut(0), Cut(10), Cut(2_000_000)], 4),
        ([Refuse(503), Refuse(500)], 3),
        ([Refuse(429, {"Retry-After": "0"})] * 3, 4),
        ([Refuse(403)], 2),
        ([Cut(2_000_000), Whole()], 2),
        ([Cut(2_000_000), Refuse(416)], None),
    ],
    ids=["cut", "cut often", "5xx", "429", "a signed address that ran out", "no ranges", "a refused range"],
)
def test_what_passes_is_tried_again(fetch: Fetcher, hub: Hub, faults: list, asked: int | None) -> None:
    hub.faults.next[BIG] = list(faults)
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    if asked is None:
        assert (run.code, "answered 416" in run.last) == (2, True)
        return
    assert (run.code, here(fetch, hub), len(hub.faults.asked[BIG])) == (0, True, asked)


def test_a_hub_that_asks_to_be_left_alone_is(fetch: Fetcher, hub: Hub) -> None:
    hub.faults.next["api"] = [Refuse(429, {"Retry-After": "1"})]
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    assert run.code == 0
    assert "answered 429; again in 1.0 s (failure 1 of 8)" in run.text


def test_when_patience_ends_it_says_so(fetch: Fetcher, hub: Hub) -> None:
    hub.faults.always[BIG] = Refuse(503, {"Retry-After": "0"})
    run = fetch(SOURCE, f"--endpoint={hub.url}", "--attempts=3")
    assert run.code == 1
    assert run.last == (
        f"stoker worker: {BIG}: 127.0.0.1 answered 503 (3 tries in a row); the next start goes on from here"
    )
    assert len(hub.faults.asked[BIG]) == 3


def test_a_server_that_always_begins_again_is_not_asked_for_ever(fetch: Fetcher, hub: Hub) -> None:
    hub.faults.always[BIG] = Whole(2_500_000)
    run = fetch(SOURCE, f"--endpoint={hub.url}", "--attempts=2")
    assert (run.code, f"{BIG}: the connection failed (RemoteProtocolError) (2 tries" in run.last) == (1, True)


def test_a_turned_bit_is_fetched_again_once(fetch: Fetcher, hub: Hub) -> None:
    hub.faults.next[BIG] = [Flip()]
    assert fetch(SOURCE, f"--endpoint={hub.url}").code == 0
    assert here(fetch, hub)


@pytest.mark.parametrize("name", [BIG, "config.json"])
def test_the_wrong_content_twice_ends_it(fetch: Fetcher, hub: Hub, name: str) -> None:
    hub.faults.always[name] = Flip()
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    assert run.code == 2
    assert f"{name} arrived twice with another content than the source says" in run.last
    assert not (fetch.to / name).exists()
    assert not (fetch.to / "stoker-manifest.json").exists()


def closed(hub: Hub) -> None:
    hub.token = "another"


def gated(hub: Hub) -> None:
    hub.gated = True


def nothing(_: Hub) -> None:
    """As it is."""


@pytest.mark.parametrize(
    ("change", "options", "token", "told"),
    [
        (closed, (), "", "hf://owner/name does not exist, or is not open without a token: give one as HF_TOKEN"),
        (closed, (), TOKEN, "hf://owner/name is not open to the token in HF_TOKEN (127.0.0.1 answered 401)"),
        (gated, (), TOKEN, "hf://owner/name is gated: accept its conditions on the hub, and give HF_TOKEN of that"),
        (nothing, ("--revision=v9",), "", "hf://owner/name has no revision 'v9'"),
        (nothing, ("--source=hf://owner/other",), "", "hf://owner/other does not exist, or is not open without a"),
        (nothing, ("--source=hf://owner/name/q4.gguf",), "", "there is no q4.gguf; GGUF files there: none"),
    ],
)
def test_what_somebody_must_change_is_told_at_once(
    fetch: Fetcher, hub: Hub, change, options: tuple[str, ...], token: str, told: str
) -> None:
    change(hub)
    fetch.environment["HF_TOKEN"] = token
    run = fetch(SOURCE, f"--endpoint={hub.url}", *options)
    assert (run.code, told in run.last, len(run.text.splitlines())) == (2, True, 1)
    assert sum(len(asked) for asked in hub.faults.asked.values()) == 1


def test_the_token_goes_to_the_hub_alone_and_into_no_line(fetch: Fetcher, hub: Hub) -> None:
    hub.token = TOKEN
    fetch.environment["HF_TOKEN"] = TOKEN + "\n"
    hub.faults.next[BIG] = [Cut(10), Refuse(403), Refuse(500)]
    assert fetch(SOURCE, f"--endpoint={hub.url}").code == 0
    assert all("authorization" not in headers for headers in hub.faults.asked[BIG])
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for headers in hub.faults.asked["config.json"])
    hub.token = "revoked"
    hub.files["config.json"] = b"other"
    (fetch.to / "stoker-manifest.json").unlink()
    assert fetch(SOURCE, f"--endpoint={hub.url}").code == 2
    hub.faults.always["api"] = Refuse(500, {"X-Error-Message": TOKEN, "X-HF-Warning": f"t; {SIGNATURE}"})
    assert fetch(SOURCE, f"--endpoint={hub.url}", "--attempts=1").code == 1
    everything = "".join(fetch.said) + "".join(path.read_text(errors="replace") for path in fetch.to.rglob("*.json"))
    assert TOKEN not in everything
    assert "Signature=" not in everything


def test_more_than_the_disk_holds_is_told_before_the_first_byte(fetch: Fetcher, hub: Hub) -> None:
    hub.lies[BIG] = 10**18
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    assert run.code == 2
    assert f"not enough space in {fetch.to}: 1000000 TB more are needed and " in run.last
    assert not hub.faults.bytes[BIG]


def test_a_disk_that_fills_under_way_is_told(fetch: Fetcher, hub: Hub) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    run = fetch.alone(SOURCE, f"--endpoint={hub.url}", preexec_fn=limit)
    assert run.code == 2
    assert f"not enough space in {fetch.to}: " in run.last
    assert fetch(SOURCE, f"--endpoint={hub.url}").code == 0
    assert hub.faults.bytes[BIG] < 4_000_000 + 2_000_000, "what fitted was kept"


def test_a_folder_that_cannot_be_written_is_told(fetch: Fetcher, hub: Hub) -> None:
    fetch.to.write_text("a file")
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    assert (run.code, "cannot be made: " in run.last) == (2, True)


@pytest.mark.parametrize("place", ["config.json", ".fetch", "additional_chat_templates", f".fetch/{BIG}"])
def test_links_in_the_folder_are_refused(fetch: Fetcher, hub: Hub, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    path = fetch.to / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside / "precious" if "json" in place else outside)
    run = fetch(SOURCE, f"--endpoint={hub.url}")
    if place.startswith(".fetch/"):
        assert run.code == 0, "no file of ours has that name; a stranger's state is removed, not followed"
    else:
        assert (run.code, "symbolic link" in run.last) == (2, True)
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "mine"


def test_a_port_that_is_taken_is_told(fetch: Fetcher, hub: Hub) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = fetch(SOURCE, f"--endpoint={hub.url}", f"--progress-listen=127.0.0.1:{taken.getsockname()[1]}")
    assert (run.code, "--progress-listen: cannot listen on" in run.last) == (2, True)


def test_what_is_no_hub_is_told(fetch: Fetcher, hub: Hub) -> None:
    run = fetch(SOURCE, f"--endpoint={hub.cdn_url}/deep")
    assert (run.code, "answered 403" in run.last) == (2, True)

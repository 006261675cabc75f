"""s3://: against moto's S3 service, with a layer around it that breaks connections and answers."""

import signal
from collections.abc import Iterator

import pytest
from tests.worker.fetch.conftest import Fetcher, noise
from tests.worker.fetch.faults import Cut, Flip, Gate, Refuse, Then, Whole
from tests.worker.fetch.s3 import BUCKET, KEY, S3, SECRET, running

SOURCE = f"s3://{BUCKET}/llama/v1"
BIG = "llama/v1/model.safetensors"
FILES = {
    "config.json": b"{}",
    "tokenizer.json": noise(50_000, 3),
    "model.safetensors": noise(4_000_000, 1),
    "pickle.bin": b"no",
    "run.py": b"no",
}
WANTED = {"config.json", "tokenizer.json", "model.safetensors"}
PART_BYTES = 5 << 20


@pytest.fixture(scope="module")
def service() -> Iterator[S3]:
    with running() as service:
        yield service


@pytest.fixture
def s3(service: S3) -> S3:
    service.begin_anew()
    service.put("llama/v1/", b"")
    service.put("llama/v10/config.json", b"another folder")
    for name, data in FILES.items():
        service.put(f"llama/v1/{name}", data)
    return service


@pytest.fixture
def fetch(fetch: Fetcher) -> Fetcher:
    fetch.environment = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    return fetch


def here(fetch: Fetcher, files: dict[str, bytes], names: set[str] = WANTED) -> bool:
    assert fetch.files() == names | {"stoker-manifest.json"}
    return all((fetch.to / name).read_bytes() == files[name] for name in names)


def digests(fetch: Fetcher) -> dict[str, str]:
    return {entry["name"]: entry["digest"].partition(":")[0] for entry in fetch.manifest()["files"]}


def test_a_folder_comes_and_nothing_beside_it_is_listed(fetch: Fetcher, s3: S3) -> None:
    s3.closed = True
    run = fetch.alone(SOURCE, f"--endpoint={s3.url}")
    assert (run.code, here(fetch, FILES)) == (0, True)
    assert run.last.startswith(f"stoker fetch: fetched {SOURCE}: 3 files, 4.05 MB in ")
    assert len(s3.listed) == 1
    assert "prefix=llama%2Fv1%2F" in s3.listed[0]
    assert digests(fetch) == dict.fromkeys(WANTED, "md5")
    asked = {name: len(times) for name, times in s3.faults.asked.items()}
    assert "is here already" in fetch(SOURCE, f"--endpoint={s3.url}").last
    assert {name: len(times) for name, times in s3.faults.asked.items()} == asked


def test_every_kind_of_checksum_is_used(fetch: Fetcher, s3: S3) -> None:
    data = noise(PART_BYTES + 1_000_000, 7)
    client = s3.client
    s3.put("llama/v1/config.json", b"[]", ChecksumAlgorithm="SHA256")
    s3.put("llama/v1/tokenizer.json", b"{}", ServerSideEncryption="aws:kms", SSEKMSKeyId="x")
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=BIG)["UploadId"]
    parts = []
    for number, part in enumerate((data[:PART_BYTES], data[PART_BYTES:]), 1):
        answer = client.upload_part(Bucket=BUCKET, Key=BIG, UploadId=upload, PartNumber=number, Body=part)
        parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=BUCKET, Key=BIG, UploadId=upload, MultipartUpload={"Parts": parts})
    s3.faults.next[BIG] = [Cut(PART_BYTES - 10), Cut(500_000)]
    assert fetch(SOURCE, f"--endpoint={s3.url}").code == 0
    assert here(fetch, {"config.json": b"[]", "tokenizer.json": b"{}", "model.safetensors": data})
    assert digests(fetch) == {"config.json": "sha256", "tokenizer.json": "size", "model.safetensors": "md5-parts"}
    (fetch.to / "stoker-manifest.json").unlink()
    (fetch.to / "model.safetensors").write_bytes(noise(len(data), 8))
    assert fetch(SOURCE, f"--endpoint={s3.url}").code == 0, "content of the same length that is not theirs is replaced"
    assert (fetch.to / "model.safetensors").read_bytes() == data


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        ([Cut(1_500_000)], 2),
        ([Refuse(503, code="SlowDown"), Refuse(500, code="InternalError")], 3),
        ([Refuse(429, {"Retry-After": "0"}, "TooManyRequests")], 2),
        ([Flip()], 2),
    ],
    ids=["cut", "5xx", "429", "a turned bit"],
)
def test_what_passes_is_tried_again(fetch: Fetcher, s3: S3, faults: list, asked: int) -> None:
    s3.faults.next[BIG] = list(faults)
    run = fetch(SOURCE, f"--endpoint={s3.url}")
    assert (run.code, here(fetch, FILES), len(s3.faults.asked[BIG])) == (0, True, asked)


def test_killed_it_goes_on_from_there(fetch: Fetcher, s3: S3) -> None:
    gate = Gate(1_800_000)
    s3.faults.next[BIG] = [gate]
    process = fetch.start(SOURCE, f"--endpoint={s3.url}")

    def held() -> int:
        return sum(part.stat().st_size for part in fetch.to.glob(".fetch/model.safetensors.*.part"))

    fetch.kill_when(process, lambda: held() >= 1_500_000)
    assert process.returncode == -signal.SIGKILL
    before = held()
    assert fetch(SOURCE, f"--endpoint={s3.url}").code == 0
    assert s3.faults.asked[BIG][-1]["range"] == f"bytes={before}-"
    assert here(fetch, FILES)
    gate.open.set()


def test_an_object_that_changes_under_way_is_not_mixed(fetch: Fetcher, s3: S3) -> None:
    changed = noise(4_000_000, 5)

    replaced = Then(lambda: s3.put(BIG, changed))
    s3.faults.next[BIG] = [Cut(2_000_000), replaced]
    run = fetch(SOURCE, f"--endpoint={s3.url}")
    assert (run.code, run.last) == (
        1,
        f"stoker worker: model.safetensors: {SOURCE} was changed while it was fetched; the next start goes on from here",
    )
    assert fetch(SOURCE, f"--endpoint={s3.url}").code == 0
    assert here(fetch, {**FILES, "model.safetensors": changed})


@pytest.mark.parametrize(
    ("source", "environment", "told"),
    [
        (SOURCE, {}, f"{SOURCE} is not open without a key: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (SOURCE, {"AWS_ACCESS_KEY_ID": "AKIAANOTHER", "AWS_SECRET_ACCESS_KEY": SECRET}, f"{SOURCE} is not open to the"),
        (SOURCE, {"AWS_ACCESS_KEY_ID": KEY}, "AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not: the Secret"),
        ("s3://nowhere/x", None, "there is no bucket 'nowhere'"),
        (f"s3://{BUCKET}/empty", None, f"s3://{BUCKET}/empty holds nothing: name the folder that the model's files"),
        (f"s3://{BUCKET}/llama/v1/q4.gguf", None, f"s3://{BUCKET}/llama/v1/q4.gguf does not exist"),
        (f"s3://{BUCKET}/llama/v10", None, "there is no model: neither model.safetensors"),
    ],
)
def test_what_somebody_must_change_is_told_at_once(
    fetch: Fetcher, s3: S3, source: str, environment: dict[str, str] | None, told: str
) -> None:
    s3.closed = True
    fetch.environment = fetch.environment if environment is None else environment
    run = fetch(source, f"--endpoint={s3.url}")
    assert (run.code, told in run.last, len(run.text.splitlines())) == (2, True, 1)


def test_one_gguf_file_of_a_folder(fetch: Fetcher, s3: S3) -> None:
    for name in ("q4.gguf", "q8.gguf"):
        s3.put(f"quants/{name}", name.encode())
    run = fetch(f"s3://{BUCKET}/quants", f"--endpoint={s3.url}")
    assert (run.code, "several GGUF files (q4.gguf, q8.gguf): name one" in run.last) == (2, True)
    assert fetch(f"s3://{BUCKET}/quants/q4.gguf", f"--endpoint={s3.url}").code == 0
    assert fetch.files() == {"q4.gguf", "stoker-manifest.json"}


def test_no_line_holds_a_secret(fetch: Fetcher, s3: S3) -> None:
    s3.faults.next[BIG] = [Cut(10), Refuse(500, code=SECRET), Refuse(404, code=SECRET)]
    assert fetch(SOURCE, f"--endpoint={s3.url}").code == 2
    s3.faults.always[BIG] = Whole(10)
    assert fetch(SOURCE, f"--endpoint={s3.url}", "--attempts=1").code == 1
    everything = "".join(fetch.said) + "".join(path.read_text(errors="replace") for path in fetch.to.rglob("*.json"))
    assert not [secret for secret in (KEY, SECRET) if secret in everything]

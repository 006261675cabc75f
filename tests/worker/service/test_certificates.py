"""Certificates that change while a worker runs, as a mounted Secret changes them: with real handshakes and streams."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.worker.service.conftest import Gateway, make_submit
from tests.worker.service.pki import WORKER_NAMES, authority, issue, openssl

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerStub
from stoker_core.names import PROTOCOL_VERSION
from stoker_worker.errors import SettingsError
from stoker_worker.service.certificates import server_credentials
from stoker_worker.settings import Address, Tls

NAMES = ("tls.crt", "tls.key", "ca.crt")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Authorities old and new; of each a worker and a gateway."""
    folder = tmp_path_factory.mktemp("pki")
    for age in ("old", "new"):
        authority(folder, age)
        issue(folder, f"{age}-worker", WORKER_NAMES, by=age)
        issue(folder, f"{age}-gateway", "URI:spiffe://stoker.dev/gateway", by=age)
    return folder


class Secret:
    """A folder whose files change together, by one rename, as kubelet does it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times = 0
        for name in NAMES:
            (folder / name).symlink_to(f"..data/{name}")

    @property
    def tls(self) -> Tls:
        return Tls(*(self.folder / name for name in NAMES))

    def put(self, *contents: bytes) -> None:
        self.times += 1
        version = self.folder / f"..{self.times}"
        version.mkdir()
        for name, content in zip(NAMES, contents, strict=True):
            (version / name).write_bytes(content)
        (self.folder / "..next").symlink_to(version.name)
        (self.folder / "..next").rename(self.folder / "..data")

    def put_from(self, pki: Path, worker: str, ca: str) -> None:
        self.put(*((pki / name).read_bytes() for name in (f"{worker}.pem", f"{worker}.key", f"{ca}.pem")))


@pytest.fixture
def secret(tmp_path: Path, pki: Path) -> Secret:
    made = Secret(tmp_path)
    made.put_from(pki, "old-worker", "old")
    return made


@asynccontextmanager
async def connected(pki: Path, age: str, port: int, trusts: str) -> AsyncIterator[WorkerStub]:
    """A new connection of the gateway whose certificate is of that age."""
    files = (f"{trusts}.pem", f"{age}-gateway.key", f"{age}-gateway.pem")
    credentials = grpc.ssl_channel_credentials(*((pki / name).read_bytes() for name in files))
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0))
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        yield WorkerStub(channel)


async def gets_in(pki: Path, age: str, port: int, trusts: str) -> bool:
    async with connected(pki, age, port, trusts) as stub:
        code = await stub.GetInfo(pb.GetInfoRequest(), timeout=20).code()
    assert code in {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    return code is grpc.StatusCode.OK


def shown(port: int) -> bytes:
    """The certificate that a handshake shows."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=20))


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.fixture
async def port(run_worker: Any, secret: Secret, pki: Path, free_port: int) -> AsyncIterator[int]:
    async with run_worker(listen=Address.parse(f"127.0.0.1:{free_port}"), tls=secret.tls):
        async with connected(pki, "old", free_port, "old") as stub:
            await stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=30)
        yield free_port


async def test_a_renewed_certificate_is_shown_to_whoever_connects_next(secret: Secret, pki: Path, port: int) -> None:
    issue(pki, "renewed-worker", WORKER_NAMES, by="old")
    secret.put_from(pki, "renewed-worker", "old")
    assert await gets_in(pki, "old", port, trusts="old")
    assert shown(port) == der(pki / "renewed-worker.pem")


async def test_a_new_authority_counts_at_once_and_streams_run_on(secret: Secret, pki: Path, port: int) -> None:
    async with connected(pki, "old", port, trusts="old") as stub:
        gateway = Gateway(stub.Serve())
        await gateway.call.write(pb.Command(hello=pb.Hello(protocol=PROTOCOL_VERSION, instance="test")))
        await gateway.until(lambda seen: seen.frames and seen.load.state == pb.ENGINE_STATE_READY)
        await gateway.call.write(pb.Command(submits=[make_submit(1)]))
        await gateway.until_ended(1)
        secret.put_from(pki, "new-worker", "new")
        assert await gets_in(pki, "new", port, trusts="new")
        assert not await gets_in(pki, "old", port, trusts="new")
        await gateway.call.write(pb.Command(submits=[make_submit(2)]))
        await gateway.until_ended(2)
        assert len(gateway.tokens[2, 0]) == 5
        gateway.call.cancel()


async def test_while_authorities_overlap_both_sides_get_in(secret: Secret, pki: Path, port: int) -> None:
    both = (pki / "old.pem").read_bytes() + (pki / "new.pem").read_bytes()
    secret.put((pki / "old-worker.pem").read_bytes(), (pki / "old-worker.key").read_bytes(), both)
    assert [await gets_in(pki, age, port, trusts="old") for age in ("old", "new")] == [True, True]


BAD = {
    "another certificate's key": ("old-worker.pem", "new-worker.key", "old.pem", "no certificate and its own private"),
    "no certificate": (b"hello", "old-worker.key", "old.pem", "no certificate and its own private key"),
    "half a file": (b"-----BEGIN CERTIFICATE-----\nMIIB", "old-worker.key", "old.pem", "no certificate and its own"),
    "no authority": ("new-worker.pem", "new-worker.key", b"", "holds no certificate authority"),
    "letters of no alphabet": ("new-worker.pem", "new-worker.key", b"\xff\xfe", "holds no certificate authority"),
}


@pytest.mark.parametrize("what", BAD)
async def test_bad_files_change_nothing_and_are_told_once(
    secret: Secret, pki: Path, port: int, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    *files, told = BAD[what]
    secret.put(*((pki / one).read_bytes() if isinstance(one, str) else one for one in files))
    with caplog.at_level(logging.ERROR):
        assert [await gets_in(pki, "old", port, trusts="old") for _ in range(3)] == [True, True, True]
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("stoker")]
    assert told in said
    assert "PRIVATE" not in said
    secret.put_from(pki, "new-worker", "new")
    assert await gets_in(pki, "new", port, trusts="new")


async def test_files_that_are_gone_for_a_while_change_nothing(
    secret: Secret, pki: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    (secret.folder / "..data").rename(secret.folder / "..away")
    with caplog.at_level(logging.ERROR):
        assert [await gets_in(pki, "old", port, trusts="old") for _ in range(2)] == [True, True]
    assert len([record for record in caplog.records if record.name.startswith("stoker")]) == 1
    (secret.folder / "..away").rename(secret.folder / "..data")
    assert await gets_in(pki, "old", port, trusts="old")


@pytest.mark.parametrize("what", BAD)
def test_a_worker_does_not_start_with_bad_files(secret: Secret, pki: Path, what: str) -> None:
    *files, told = BAD[what]
    secret.put(*((pki / one).read_bytes() if isinstance(one, str) else one for one in files))
    with pytest.raises(SettingsError, match=told):
        server_credentials(secret.tls)


def test_an_encrypted_key_is_refused_without_asking_for_its_password(secret: Secret, pki: Path) -> None:
    openssl(pki, "ec", "-in", "old-worker.key", "-out", "encrypted.key", "-aes128", "-passout", "pass:x")
    secret.put(*((pki / name).read_bytes() for name in ("old-worker.pem", "encrypted.key", "old.pem")))
    with pytest.raises(SettingsError, match="encrypted"):
        server_credentials(secret.tls)

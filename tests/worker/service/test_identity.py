"""Mutual TLS: who has which certificate, and what it opens. The certificates are real, made by openssl."""

from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.worker.service.pki import WORKER_NAMES, authority, issue

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerAdminStub, WorkerStub
from stoker_worker.errors import SettingsError
from stoker_worker.service.certificates import server_credentials
from stoker_worker.settings import Address, Tls

DENIED, DONE = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.OK


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("pki")
    authority(folder, "ca")
    issue(folder, "worker", WORKER_NAMES)
    for role in ("gateway", "operator", "stranger"):
        issue(folder, role, f"URI:spiffe://stoker.dev/{role}")
    return folder


@asynccontextmanager
async def connected(pki: Path, name: str, port: int) -> Any:
    credentials = grpc.ssl_channel_credentials(
        (pki / "ca.pem").read_bytes(), (pki / f"{name}.key").read_bytes(), (pki / f"{name}.pem").read_bytes()
    )
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        yield channel


async def status_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return DONE


@pytest.mark.parametrize(
    ("name", "worker_side", "admin_side"),
    [("gateway", DONE, DENIED), ("operator", DENIED, DONE), ("stranger", DENIED, DENIED), ("worker", DENIED, DENIED)],
)
async def test_each_role_has_its_service(
    run_worker: Any, pki: Path, free_port: int, name: str, worker_side: Any, admin_side: Any
) -> None:
    tls = Tls(pki / "worker.pem", pki / "worker.key", pki / "ca.pem")
    running = run_worker(listen=Address.parse(f"127.0.0.1:{free_port}"), tls=tls)
    async with running, connected(pki, name, free_port) as channel:
        worker, admin = WorkerStub(channel), WorkerAdminStub(channel)
        assert await status_of(worker.GetInfo(pb.GetInfoRequest(), wait_for_ready=True)) is worker_side
        stream = worker.Serve()
        said = await status_of(stream.write(pb.Command(hello=pb.Hello(protocol=1))))  # a refusal may be here already
        assert (said is DONE and await status_of(stream.read()) is DONE) is (worker_side is DONE)
        assert await status_of(admin.Drain(pb.DrainRequest())) is admin_side
        stream.cancel()


async def test_nobody_gets_in_without_a_certificate(run_worker: Any, pki: Path, free_port: int) -> None:
    tls = Tls(pki / "worker.pem", pki / "worker.key", pki / "ca.pem")
    address = f"127.0.0.1:{free_port}"
    async with run_worker(listen=Address.parse(address), tls=tls):
        async with connected(pki, "gateway", free_port) as channel:
            await WorkerStub(channel).GetInfo(pb.GetInfoRequest(), wait_for_ready=True)
        without = grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(address, without) as channel:
            assert await status_of(WorkerStub(channel).GetInfo(pb.GetInfoRequest())) is grpc.StatusCode.UNAVAILABLE


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}: Is a directory"):
        server_credentials(Tls(tmp_path, tmp_path, tmp_path))

"""When a worker is routable: a decision over times, and the health protocol that tells it."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.service.health import Attachment, is_routable
from stoker_worker.settings import Address

Serving = health_pb2.HealthCheckResponse


def after(*observed: tuple[float, int]) -> Attachment:
    """The attachment after numbers of streams were seen at times."""
    attachment = Attachment()
    for now_s, streams in observed:
        attachment = attachment.changed(streams, now_s)
    return attachment


@pytest.mark.parametrize(
    ("attachment", "ready", "now_s", "routable"),
    [
        pytest.param(after(), True, 1000, False, id="never before the first gateway"),
        pytest.param(after((0, 0)), True, 1000, False, id="seeing none is not one that left"),
        pytest.param(after((0, 1)), True, 1000, True, id="a gateway is attached"),
        pytest.param(after((0, 1)), False, 1000, False, id="not without the engine"),
        pytest.param(after((0, 2), (5, 0)), True, 34.9, True, id="it stays for 30 s after the last one"),
        pytest.param(after((0, 2), (5, 0)), True, 35, False, id="and no longer"),
        pytest.param(after((0, 2), (5, 0), (34, 0)), True, 36, False, id="looking again does not prolong it"),
        pytest.param(after((0, 2), (5, 0), (20, 1), (40, 0)), True, 69, True, id="a new gateway begins anew"),
        pytest.param(after((0, 2), (5, 0)), False, 6, False, id="an engine that dies is not routable meanwhile"),
    ],
)
def test_routable(attachment: Attachment, ready: bool, now_s: float, routable: bool) -> None:
    assert is_routable(engine_ready=ready, attachment=attachment, now_s=now_s) is routable


async def until_status(stub: Any, service: str, status: int) -> None:
    call = stub.Watch(health_pb2.HealthCheckRequest(service=service), wait_for_ready=True)
    async with asyncio.timeout(10):
        while (await call.read()).status != status:
            pass
    call.cancel()


async def test_probes_follow_the_engine_the_gateways_and_a_drain(run_worker: Any, socket_folder: Any) -> None:
    address = f"unix:{socket_folder}/health.sock"
    async with (
        run_worker(health_listen=Address.parse(address)) as worker,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = HealthStub(channel)
        await until_status(stub, "engine", Serving.SERVING)
        routable = await stub.Check(health_pb2.HealthCheckRequest(service="routable"))
        assert routable.status == Serving.NOT_SERVING
        gateway = await worker.connect()
        await until_status(stub, "routable", Serving.SERVING)
        gateway.call.cancel()
        await worker.info()
        assert (await stub.Check(health_pb2.HealthCheckRequest(service="routable"))).status == Serving.SERVING
        await worker.admin.Drain(pb.DrainRequest())
        await until_status(stub, "routable", Serving.NOT_SERVING)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service="engine"))).status == Serving.SERVING
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == Serving.SERVING, "the process lives"


async def test_the_main_address_tells_its_health_too(worker: Any) -> None:
    await until_status(HealthStub(worker.channel), "engine", Serving.SERVING)

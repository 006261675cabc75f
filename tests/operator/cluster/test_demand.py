"""Gateways tell a real operator, by its own certificates, how many requests there are; the status says so."""

import asyncio
import base64
import re
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from tests.operator.cluster.cluster import Cluster, Json
from tests.operator.cluster.conftest import OPERATOR_NAMESPACE, OperatorProcess
from tests.operator.cluster.stage import deployment, make_model, make_pool, wait_reason

from stoker.operator.v1 import demand_pb2 as pb
from stoker_core.identity import OPERATOR
from stoker_gateway.rpc.channel import Channel, connect
from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.rpc.tls import ClientTls, TlsFiles
from stoker_gateway.sources.demand import REPORT

PATIENCE_S = 20.0


def secret(cluster: Cluster, namespace: str, name: str) -> dict[str, bytes]:
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
    found = cluster.wait(manifest, lambda one: "tls.crt" in one.get("data", {}))
    return {key: base64.b64decode(value) for key, value in found["data"].items()}


def port(operator: OperatorProcess) -> int:
    """Where it listens since it leads, by its log."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := re.findall(r"demand on port (\d+)", operator.log.read_text())) == []:
        assert time.monotonic() < deadline, "the operator hears no demand"
        time.sleep(0.05)
    return int(found[-1])


def opened(operator: OperatorProcess, files: dict[str, bytes], folder: Path) -> "AbstractAsyncContextManager[Channel]":
    """A gateway's own way to the operator."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tls = ClientTls(TlsFiles(folder / "tls.crt", folder / "tls.key", folder / "ca.crt"))
    return connect(f"127.0.0.1:{port(operator)}", PATIENCE_S, tls, OPERATOR)


async def test_demand_of_gateways_is_in_the_status_and_goes_with_them(
    cluster: Cluster, team: str, operator: OperatorProcess, tmp_path: Path
) -> None:
    pool = make_pool(cluster, 8)
    manifest = deployment(team, make_model(cluster), pool.accelerator, replicas=0)
    cluster.apply(manifest)
    found = wait_reason(cluster, manifest, "ScaledToZero")
    uid = found["metadata"]["uid"]
    assert "demand" not in found["status"]
    files = secret(cluster, OPERATOR_NAMESPACE, "stoker-gateway-tls")
    async with opened(operator, files, tmp_path) as channel:
        one = pb.DeploymentDemand(deployment_uid=uid, held=2, in_flight=3, oldest_ms=40)
        channel.call(REPORT, lambda _: None).send(pb.DemandReport(gateway="g", deployments=[one]))
        await shown(cluster, manifest, {"held": 2, "inFlight": 3, "oldestMs": 40})
    await shown(cluster, manifest, {"held": 0, "inFlight": 0, "oldestMs": 0})


async def shown(cluster: Cluster, manifest: Json, demand: dict[str, int]) -> None:
    await asyncio.to_thread(cluster.wait, manifest, lambda one: one["status"].get("demand") == demand)


async def test_a_worker_is_no_gateway(cluster: Cluster, team: str, operator: OperatorProcess, tmp_path: Path) -> None:
    pool = make_pool(cluster, 8)
    cluster.apply(deployment(team, make_model(cluster), pool.accelerator))
    files = secret(cluster, team, "chat-worker-tls")
    with pytest.raises(RpcError) as caught:
        async with opened(operator, files, tmp_path) as channel:
            await channel.call(REPORT, lambda _: None).finished()
    assert caught.value.code in {Code.PERMISSION_DENIED, Code.UNAVAILABLE, Code.UNAUTHENTICATED}

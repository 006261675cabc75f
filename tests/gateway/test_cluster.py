"""A gateway that watches a real API server: who is routed where, who is not, and what happens while there is nobody."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import msgspec
import pytest
import yaml
from hack.kube import control_plane
from hack.kube.control_plane import ControlPlane
from hack.kube.pki import Authority

from stoker.operator.v1 import demand_pb2 as demand
from stoker.operator.v1.demand_pb2_grpc import DemandServicer, add_DemandServicer_to_server
from stoker_core import identity, labels
from stoker_core.api_server import of_kubeconfig
from stoker_core.principals import Scope
from stoker_gateway import keys
from stoker_gateway.rpc.tls import TlsFiles
from stoker_gateway.settings import Limits
from stoker_gateway.sources.objects import DeploymentSpec

ROOT = Path(__file__).resolve().parents[2]
MODEL = "accounts/stoker/models/smollm2-135m-instruct"
PORT = 8443
MERGE = {"content-type": "application/merge-patch+json"}
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Count, please."}]}
TEXT = " one two three four five six seven"
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane.running(tmp_path_factory.mktemp("plane"), build=False) as plane:
        for path in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
            plane.kubectl("apply", "-f", str(path))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all")
        yield plane


@dataclass
class World:
    """A cluster's objects, its workers as fakes on loopback addresses, and a gateway that finds them."""

    plane: ControlPlane
    stage: Any
    plays: Any
    folder: Path
    authority: Authority
    client: httpx.AsyncClient
    made: list[str] = field(default_factory=list)
    addresses: Iterator[int] = field(default_factory=lambda: iter(range(2, 250)))

    async def create(self, path: str, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
        version = "v1" if path.startswith("/api/v1") else "stoker.dev/v1alpha1"
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
        answer = await self.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        self.made.append(f"{path}/{name}")
        made: dict[str, Any] = answer.json()
        return made

    async def namespace(self, account: str) -> str:
        """A new one of an account; nobody collects namespaces here, so each has a name of its own."""
        name = f"{account}-{uuid4().hex[:8]}"
        body = {"metadata": {"name": name, "labels": {labels.ACCOUNT: account}}}
        assert (await self.client.post("/api/v1/namespaces", json=body)).status_code == 201
        return name

    async def model(self, model_id: str = MODEL, **spec: Any) -> str:
        account, name = model_id.split("/")[1], model_id.split("/")[3]
        source = {"uri": "embedded://smollm2-135m-instruct"}
        public = {"visibility": "Public", "source": source, "id": model_id, "account": account}
        await self.create("/apis/stoker.dev/v1alpha1/models", "Model", name, {**public, **spec})
        return name

    async def deployment(
        self, namespace: str, name: str, model: str, tier: str = "Serverless", replicas: int = 1
    ) -> str:
        spec = {"model": model, "tier": tier, "replicas": replicas, "accelerator": {"type": "CPU"}}
        path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/deployments"
        uid: str = (await self.create(path, "Deployment", name, spec))["metadata"]["uid"]
        return uid

    async def worker(self, namespace: str, uid: str, *, shows: str = "", says: str = TEXT, serves: str = MODEL) -> Any:
        """A pod that runs, labelled with a Deployment's uid, and the worker in it; `shows`: whose certificate it has."""
        ip = f"127.0.0.{next(self.addresses)}"
        tls = self._server_tls(f"worker-{ip}", identity.worker(shows or uid))
        worker = await self.stage.worker_at(f"{ip}:{PORT}", self.plays(says=says + "<eos>"), tls)
        worker.model = f"{serves}@{worker.model.partition('@')[2]}"
        told = {labels.COMPONENT: labels.WORKER, labels.DEPLOYMENT_UID: uid, labels.REGION: "here"}
        path, name = f"/api/v1/namespaces/{namespace}/pods", f"worker-{ip.rpartition('.')[2]}"
        await self.create(path, "Pod", name, {"containers": [{"name": "worker", "image": "none"}]}, labels=told)
        status = {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}}
        answer = await self.client.patch(f"{path}/{name}/status", json=status, headers=MERGE)
        assert answer.status_code == 200, answer.text
        return worker

    def server_credentials(self, name: str, spiffe: str) -> grpc.ServerCredentials:
        tls = self._server_tls(name, spiffe)
        pair = tls.key.read_bytes(), tls.cert.read_bytes()
        return grpc.ssl_server_credentials([pair], root_certificates=tls.ca.read_bytes(), require_client_auth=True)

    def _server_tls(self, name: str, spiffe: str) -> TlsFiles:
        self.authority.server(name, spiffe)
        folder = self.authority.folder
        return TlsFiles(folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt")

    async def serve(self, **settings: Any) -> Any:
        """A gateway that has seen the cluster."""
        access = of_kubeconfig(yaml.safe_load(self.plane.kubeconfig.read_text()), self.folder)
        self.authority.client("gateway", "gateway")
        folder = self.authority.folder
        tls = TlsFiles(folder / "gateway.crt", folder / "gateway.key", folder / "ca.crt")
        return await self.stage.serve(workers=(), api_server=access, tls=tls, **settings)

    async def replicas(self, namespace: str, name: str) -> int:
        found = await self.client.get(f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/deployments/{name}")
        count: int = found.json()["spec"]["replicas"]
        return count

    async def aclose(self) -> None:
        for path in reversed(self.made):
            await self.client.delete(path, params={"gracePeriodSeconds": "0"})


@pytest.fixture
async def world(plane: ControlPlane, stage: Any, plays: Any, tmp_path: Path) -> AsyncIterator[World]:
    context = ssl.create_default_context(cafile=str(plane.ca))
    context.load_cert_chain(plane.cert, plane.key)
    async with httpx.AsyncClient(base_url=plane.url, verify=context, trust_env=False) as client:
        world = World(plane, stage, plays, tmp_path, Authority.create(tmp_path / "pki"), client)
        yield world
        await world.aclose()


async def ask(client: httpx.AsyncClient, model: str = MODEL, key: str = "") -> str:
    """What was answered, or the status and code of the error."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = await client.post("/v1/chat/completions", json={**BODY, "model": model}, headers=headers)
    body = answer.json()
    if answer.status_code == 200:
        return str(body["choices"][0]["message"]["content"])
    return f"{answer.status_code} {body['error']['code']}"


async def test_a_model_is_answered_by_its_serverless_deployment_and_a_deployment_by_itself(world: World) -> None:
    space, model = await world.namespace("local"), await world.model(aliases=["small"])
    shared = await world.deployment(space, "shared", model)
    own = await world.deployment(space, "own", model, "OnDemand")
    await world.worker(space, shared, says=" shared")
    await world.worker(space, own, says=" own")
    served = await world.serve()
    await served.ready(2)
    client = await served.http()
    names = [MODEL, "small", "accounts/local/deployments/own", "small#own", f"{MODEL}#accounts/local/deployments/own"]
    assert [await ask(client, name) for name in names] == [" shared", " shared", " own", " own", " own"]
    assert await ask(client, "accounts/local/deployments/shared") == " shared"
    for unknown in ("smaller", "small#other", "accounts/local/deployments/other", "accounts/team/deployments/own"):
        assert await ask(client, unknown) == "404 model_not_found"
    listed = (await client.get("/v1/models")).json()["data"]
    assert [card["id"] for card in listed] == [MODEL]
    rows = served.usage()
    assert {row["deployment_uid"] for row in rows} == {shared, own}
    assert {row["tier"] for row in rows} == {"Serverless", "OnDemand"}


async def test_what_is_private_is_there_for_its_account_alone(world: World, tmp_path: Path) -> None:
    ours, theirs = await world.namespace("ours"), await world.namespace("theirs")
    model = await world.model("accounts/ours/models/secret", visibility="Private", aliases=["secret"])
    uid = await world.deployment(ours, "it", model, "FineTuned")
    foreign = await world.deployment(theirs, "it", model, "FineTuned")
    for space, owner, says in ((ours, uid, " ours"), (theirs, foreign, " theirs")):
        await world.worker(space, owner, serves="accounts/ours/models/secret", says=says)
    document, our_key = keys.add(keys.KeyDocument(), "ours", 0, (Scope.INFERENCE,))
    document, their_key = keys.add(document, "theirs", 0, (Scope.INFERENCE,))
    keys.save(tmp_path / "keys.json", document)
    served = await world.serve(keys_file=tmp_path / "keys.json")
    await served.ready(2)
    client = await served.http()
    for name in ("accounts/ours/models/secret", "secret", "secret#it", "accounts/ours/deployments/it"):
        assert await ask(client, name, our_key) == " ours"
        assert await ask(client, name, their_key) == "404 model_not_found"
    assert await ask(client, "accounts/theirs/deployments/it", our_key) == "404 model_not_found"


async def test_an_impostor_gets_no_traffic(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Labels alone are worth nothing: the namespace, the certificate and the model must be the Deployment's."""
    ours, theirs = await world.namespace("local"), await world.namespace("theirs")
    model = await world.model()
    uid = await world.deployment(ours, "it", model)
    elsewhere = await world.worker(theirs, uid, says=" from another namespace")
    forged = await world.worker(ours, uid, shows="another", says=" with another's certificate")
    wrong = await world.worker(ours, uid, serves="accounts/stoker/models/other", says=" another model")
    await world.worker(ours, uid)
    served = await world.serve()
    await served.ready(1)
    await served.eventually(lambda: "not that of spiffe" in caplog.text and "none of its models" in caplog.text)
    assert [await ask(await served.http()) for _ in range(4)] == [TEXT] * 4
    assert not [one for one in (elsewhere, forged, wrong) if one.submits]
    assert not elsewhere.tokenizer_requests
    assert not forged.greeted


async def test_a_request_for_a_deployment_that_sleeps_wakes_it_and_is_answered(world: World) -> None:
    space, model = await world.namespace("local"), await world.model()
    uid = await world.deployment(space, "cold", model, replicas=0)
    served = await world.serve()
    client = await served.http()
    waiting = [asyncio.create_task(ask(client)) for _ in range(3)]
    async with asyncio.timeout(PATIENCE_S):
        while await world.replicas(space, "cold") == 0:  # noqa: ASYNC110 - it is the API server's
            await asyncio.sleep(0.02)
    assert await world.replicas(space, "cold") == 1
    await world.worker(space, uid)
    assert await asyncio.gather(*waiting) == [TEXT] * 3


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"replicas": 3}, 3),
        ({"autoscaling": {"min": 2, "max": 4}}, 2),
        ({"autoscaling": {"max": 4}}, 0),
        ({"autoscaling": {"min": 2, "max": 4}, "replicas": 0}, 0),
    ],
    ids=["a number", "the smallest, until somebody writes one", "none", "a number over the smallest"],
)
def test_who_sleeps_is_told_from_who_starts(spec: dict[str, Any], wanted: int) -> None:
    assert msgspec.convert({"model": "m", **spec}, DeploymentSpec).wanted == wanted


async def test_a_request_that_nobody_can_answer_in_time_says_when_to_come_again(world: World) -> None:
    space, model = await world.namespace("local"), await world.model()
    await world.deployment(space, "cold", model, replicas=0)
    served = await world.serve(limits=Limits(hold_timeout_s=0.5))
    await served.until(lambda: served.gateway.ready)
    assert (await (await served.http()).get("/ready")).status_code == 200, "who sleeps can be woken"
    answer = await (await served.http()).post("/v1/chat/completions", json=BODY)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_a_deployment_that_was_known_refuses_bad_requests_without_waking(world: World) -> None:
    space, model = await world.namespace("local"), await world.model()
    uid = await world.deployment(space, "warm", model)
    await world.worker(space, uid)
    served = await world.serve()
    await served.ready(1)
    scale = f"/apis/stoker.dev/v1alpha1/namespaces/{space}/deployments/warm/scale"
    await world.client.patch(scale, json={"spec": {"replicas": 0}}, headers=MERGE)
    await world.client.delete(world.made[-1], params={"gracePeriodSeconds": "0"})
    await served.until(lambda: not served.gateway.pool.ready)
    client = await served.http()
    answer = await client.post("/v1/chat/completions", json={**BODY, "temperature": -1})
    assert answer.status_code == 400
    long = {**BODY, "messages": [{"role": "user", "content": "word " * 2000}]}
    assert (await client.post("/v1/chat/completions", json=long)).status_code == 400
    assert await world.replicas(space, "warm") == 0


async def test_it_goes_on_serving_while_the_api_server_is_away(world: World) -> None:
    space, model = await world.namespace("local"), await world.model()
    uid = await world.deployment(space, "it", model)
    await world.worker(space, uid)
    served = await world.serve()
    await served.ready(1)
    client = await served.http()
    world.plane.freeze_api_server()
    try:
        assert [await ask(client) for _ in range(3)] == [TEXT] * 3
    finally:
        world.plane.thaw_api_server()
    await world.worker(space, uid)
    await served.ready(2)


class Listener(DemandServicer):
    """The operator's ear."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[demand.DemandReport] = asyncio.Queue()

    async def Report(self, request_iterator: Any, context: Any) -> AsyncIterator[demand.DemandReceipt]:  # noqa: N802
        async for report in request_iterator:
            self.heard.put_nowait(report)
        yield demand.DemandReceipt()

    async def until(self, uid: str, **wanted: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                told = {one.deployment_uid: one for one in (await self.heard.get()).deployments}
                if uid in told and all(getattr(told[uid], name) == value for name, value in wanted.items()):
                    return


async def test_the_operator_is_told_who_waits_and_who_is_being_answered(world: World) -> None:
    listener, server = Listener(), grpc.aio.server()
    add_DemandServicer_to_server(listener, server)
    port = server.add_secure_port("127.0.0.1:0", world.server_credentials("operator", identity.OPERATOR))
    await server.start()
    space, model = await world.namespace("local"), await world.model()
    uid = await world.deployment(space, "cold", model, replicas=0)
    served = await world.serve(operator=f"127.0.0.1:{port}")
    client = await served.http()
    waiting = [asyncio.create_task(ask(client)) for _ in range(3)]
    await listener.until(uid, held=3)
    worker = await world.worker(space, uid)
    worker.gate.clear()
    await listener.until(uid, held=0, in_flight=3)
    worker.gate.set()
    assert await asyncio.gather(*waiting) == [TEXT] * 3
    await server.stop(None)


async def test_workers_may_be_named_in_a_file(world: World, tmp_path: Path) -> None:
    worker = await world.stage.worker()
    world.stage.workers.clear()
    path = tmp_path / "endpoints.json"
    path.write_text(json.dumps({"endpoints": [{"address": worker.address, "region": "far", "model": MODEL}]}))
    served = await world.stage.serve(workers=(), endpoints_file=path)
    await served.ready(1)
    assert await ask(await served.http()) == TEXT
    assert [row["region"] for row in served.usage()] == ["far"]
    path.write_text("{}")
    path.write_text('{"endpoints": []}')
    await served.until(lambda: not served.gateway.pool.ready)

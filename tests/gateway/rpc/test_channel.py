"""Calls to gRPC's own server, and to peers that do what no good server does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.settings import SettingCodes, Settings

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerServicer, add_WorkerServicer_to_server
from stoker_gateway.rpc.call import Method
from stoker_gateway.rpc.channel import Channel, connect
from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.rpc.messages import delimited
from stoker_gateway.workers import methods
from stoker_gateway.workers.methods import GET_INFO, GET_TOKENIZER, SERVE

PATIENCE_S = 10.0


class Servant(WorkerServicer):
    """Says back what it hears; waits where it is told to."""

    def __init__(self) -> None:
        self.is_left = asyncio.Event()
        self.hangs = False

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.WorkerInfo:  # noqa: N802
        if not self.hangs:
            return pb.WorkerInfo(instance="servant")
        try:
            await asyncio.Event().wait()
        finally:
            self.is_left.set()
        raise AssertionError

    async def GetTokenizer(self, request: pb.GetTokenizerRequest, context: Any) -> AsyncIterator[pb.TokenizerChunk]:  # noqa: N802
        for _ in range(24):
            yield pb.TokenizerChunk(data=bytes(1 << 20))

    async def Serve(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.Frame]:  # noqa: N802
        try:
            async for command in request_iterator:
                for submit in command.submits:
                    yield pb.Frame(accepted=[pb.Accepted(handle=submit.handle, max_tokens=len(submit.token_ids))])
        finally:
            self.is_left.set()


@asynccontextmanager
async def serving(address: str) -> AsyncIterator[tuple[Servant, grpc.aio.Server]]:
    servant, server = Servant(), grpc.aio.server()
    add_WorkerServicer_to_server(servant, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield servant, server
    finally:
        await server.stop(None)


@pytest.fixture
async def servant(tmp_path: Path) -> AsyncIterator[tuple[Servant, Channel, grpc.aio.Server]]:
    address = f"unix:{tmp_path}/servant.sock"
    async with serving(address) as (servant, server), connect(address, PATIENCE_S) as channel:
        yield servant, channel, server


Served = tuple[Servant, Channel, grpc.aio.Server]


def ignore(_: object) -> None:
    """What comes is of no interest."""


def test_every_method_is_one_of_the_service() -> None:
    service = pb.DESCRIPTOR.services_by_name["Worker"]
    for method in (method for method in vars(methods).values() if isinstance(method, Method)):
        name = method.path.removeprefix(f"/{service.full_name}/")
        assert service.methods_by_name[name].input_type is method.request.DESCRIPTOR
        assert service.methods_by_name[name].output_type is method.response.DESCRIPTOR


async def test_one_message_for_one(servant: Served) -> None:
    info = await servant[1].unary(GET_INFO, pb.GetInfoRequest(), PATIENCE_S)
    assert info.instance == "servant"


async def test_over_tcp(tmp_path: Path) -> None:
    servant, server = Servant(), grpc.aio.server()
    add_WorkerServicer_to_server(servant, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}", PATIENCE_S) as channel:
        assert (await channel.unary(GET_INFO, pb.GetInfoRequest(), PATIENCE_S)).instance == "servant"
    await server.stop(None)


async def test_an_answer_far_larger_than_the_windows(servant: Served) -> None:
    sizes: list[int] = []
    await servant[1].ask(
        GET_TOKENIZER, pb.GetTokenizerRequest(), lambda chunk: sizes.append(len(chunk.data)), PATIENCE_S
    )
    assert sizes == [1 << 20] * 24


async def test_requests_larger_than_the_peers_window_arrive_in_order_beside_small_ones(servant: Served) -> None:
    accepted: asyncio.Queue[pb.Accepted] = asyncio.Queue()
    call = servant[1].call(SERVE, lambda frame: [accepted.put_nowait(one) for one in frame.accepted] and None)
    sizes = [300_000, 1, 200_000, 2]
    for handle, size in enumerate(sizes, 1):
        call.send(pb.Command(submits=[pb.Submit(handle=handle, token_ids=[40_000] * size)]))
    async with asyncio.timeout(PATIENCE_S):
        answers = [await accepted.get() for _ in sizes]
    assert [(answer.handle, answer.max_tokens) for answer in answers] == list(enumerate(sizes, 1))


async def test_an_answer_that_does_not_come_in_time_is_given_up_on_both_sides(servant: Served) -> None:
    servant[0].hangs = True
    with pytest.raises(TimeoutError):
        await servant[1].unary(GET_INFO, pb.GetInfoRequest(), 0.05)
    async with asyncio.timeout(PATIENCE_S):
        await servant[0].is_left.wait()


async def test_a_cancelled_call_ends_on_both_sides_and_its_messages_go_nowhere(servant: Served) -> None:
    call = servant[1].call(SERVE, ignore)
    call.send(pb.Command(submits=[pb.Submit(handle=1)]))
    call.cancel()
    with pytest.raises(RpcError) as caught:
        await call.finished()
    assert caught.value.code is Code.CANCELLED
    call.send(pb.Command())
    assert (await servant[1].unary(GET_INFO, pb.GetInfoRequest(), PATIENCE_S)).instance == "servant"


async def test_a_call_ends_when_what_takes_its_messages_refuses_one(servant: Served) -> None:
    def refuse(frame: pb.Frame) -> None:
        raise RpcError(Code.FAILED_PRECONDITION, "not this")

    call = servant[1].call(SERVE, refuse)
    call.send(pb.Command(submits=[pb.Submit(handle=1)]))
    with pytest.raises(RpcError, match="not this"):
        await asyncio.wait_for(call.finished(), PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        await servant[0].is_left.wait()


@pytest.mark.parametrize(
    ("method", "code"),
    [
        (Method("/stoker.worker.v1.Worker/PutMedia", pb.MediaChunk, pb.PutMediaResponse), Code.UNIMPLEMENTED),
        (Method("/nobody.Knows/This", pb.GetInfoRequest, pb.WorkerInfo), Code.UNIMPLEMENTED),
    ],
    ids=["a method without code", "an unknown service"],
)
async def test_the_servers_own_refusals_keep_their_code(servant: Served, method: Any, code: Code) -> None:
    with pytest.raises(RpcError) as caught:
        await servant[1].unary(method, method.request(), PATIENCE_S)
    assert caught.value.code is code


async def test_when_the_server_stops_every_call_is_lost(servant: Served) -> None:
    _, channel, server = servant
    call = channel.call(SERVE, ignore)
    await channel.unary(GET_INFO, pb.GetInfoRequest(), PATIENCE_S)
    await server.stop(None)
    with pytest.raises(RpcError) as caught:
        await asyncio.wait_for(call.finished(), PATIENCE_S)
    assert caught.value.code in {Code.UNAVAILABLE, Code.CANCELLED}


@pytest.mark.parametrize("address", ["unix:{}/nobody.sock", "127.0.0.1:1"])
async def test_nobody_there(tmp_path: Path, address: str) -> None:
    with pytest.raises(RpcError, match="cannot be reached") as caught:
        async with connect(address.format(tmp_path), PATIENCE_S):
            pass
    assert caught.value.code is Code.UNAVAILABLE


# ------------------------------------------------------------------------------------- peers that misbehave

Answer = Callable[[H2Connection, int], None]
GRPC = [(":status", "200"), ("content-type", "application/grpc")]


class Peer(asyncio.Protocol):
    """Speaks HTTP/2 and answers every request as the script says."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._h2 = H2Connection(H2Configuration(client_side=False))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self._answer(self._h2, event.stream_id or 0)
        self._transport.write(self._h2.data_to_send())


def answering(*, data: bytes = b"", trailers: Iterable[tuple[str, str]] | None = None, head: Any = GRPC) -> Answer:
    def answer(h2: H2Connection, stream_id: int) -> None:
        h2.send_headers(stream_id, head, end_stream=not data and trailers is None)
        if data:
            h2.send_data(stream_id, data, end_stream=trailers is None)
        if trailers is not None:
            h2.send_headers(stream_id, list(trailers), end_stream=True)

    return answer


ANSWER = delimited(pb.WorkerInfo(instance="peer").SerializeToString())
OK = [("grpc-status", "0")]

MISBEHAVIOUR: dict[str, tuple[Answer, Code]] = {
    "it is busy": (answering(head=[*GRPC, ("grpc-status", "8")]), Code.RESOURCE_EXHAUSTED),
    "a status nobody knows": (answering(head=[*GRPC, ("grpc-status", "99")]), Code.UNKNOWN),
    "a status that is no number": (answering(head=[*GRPC, ("grpc-status", "fine")]), Code.UNKNOWN),
    "a proxy's answer": (answering(head=[(":status", "503")], data=b"<html>"), Code.UNAVAILABLE),
    "an answer that is not gRPC's": (answering(head=[(":status", "418")]), Code.UNKNOWN),
    "no status": (answering(data=ANSWER), Code.INTERNAL),
    "no message": (answering(trailers=OK), Code.INTERNAL),
    "two messages": (answering(data=ANSWER * 2, trailers=OK), Code.INTERNAL),
    "half a message": (answering(data=ANSWER[:-1], trailers=OK), Code.INTERNAL),
    "a compressed message": (answering(data=b"\1" + ANSWER[1:], trailers=OK), Code.INTERNAL),
    "not a message": (answering(data=delimited(b"\xff\xff"), trailers=OK), Code.INTERNAL),
    "refused stream": (lambda h2, stream_id: h2.reset_stream(stream_id, 7), Code.UNAVAILABLE),
    "reset": (lambda h2, stream_id: h2.reset_stream(stream_id, 2), Code.INTERNAL),
    "going away": (lambda h2, stream_id: h2.close_connection(), Code.UNAVAILABLE),
}


@pytest.mark.parametrize("how", MISBEHAVIOUR)
async def test_a_peer_that_misbehaves_costs_its_call_only(tmp_path: Path, how: str) -> None:
    answer, code = MISBEHAVIOUR[how]
    server = await asyncio.get_running_loop().create_unix_server(lambda: Peer(answer), f"{tmp_path}/peer.sock")
    async with server, connect(f"unix:{tmp_path}/peer.sock", PATIENCE_S) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.unary(GET_INFO, pb.GetInfoRequest(), PATIENCE_S)
    assert caught.value.code is code


@pytest.mark.parametrize(
    "says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0", b""], ids=["HTTP/1.1", "a scrap", "nothing"]
)
async def test_a_peer_without_http2(tmp_path: Path, says: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        writer.close()

    server = await asyncio.start_unix_server(speak, f"{tmp_path}/peer.sock")
    async with server, connect(f"unix:{tmp_path}/peer.sock", PATIENCE_S) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.unary(GET_INFO, pb.GetInfoRequest(), PATIENCE_S)
    assert caught.value.code is Code.UNAVAILABLE


async def test_a_lost_channel_begins_no_calls(servant: Served) -> None:
    _, channel, _ = servant
    await channel.aclose()
    with pytest.raises(RpcError) as caught:
        channel.call(SERVE, ignore)
    assert caught.value.code is Code.UNAVAILABLE

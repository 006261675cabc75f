"""What a connection does besides one ordinary request after the other."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from stoker_gateway.settings import Limits

ALIAS = "smollm2-135m-instruct"
SAID = " one two three four five six seven"
BODY = {"model": ALIAS, "messages": [{"role": "user", "content": "Count, please."}]}
Front = Callable[..., Awaitable[Any]]


class Wire:
    """A client's end of a connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, headers: str = "", method: str = "POST", version: str = "1.1", **changes: Any) -> None:
        """A request for a chat; `headers` end with CRLF."""
        self.head(headers, method, version, **changes)
        self.writer.write(json.dumps({**BODY, **changes}).encode())

    def head(self, headers: str = "", method: str = "POST", version: str = "1.1", **changes: Any) -> None:
        size = len(json.dumps({**BODY, **changes}))
        line = f"{method} /v1/chat/completions HTTP/{version}\r\nhost: x\r\n{headers}content-length: {size}\r\n\r\n"
        self.writer.write(line.encode())

    async def answer(self) -> tuple[bytes, bytes]:
        """Head and body of an answer that has a length."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = (int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        return head, await self.reader.readexactly(length)


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    """Open a connection to a served gateway; `receive_bytes` bounds what the kernel takes in for a slow reader."""
    writers: list[asyncio.StreamWriter] = []

    async def connect(served: Any, receive_bytes: int = 0) -> Wire:
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        end = socket.socket()
        if receive_bytes:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        end.setblocking(False)
        await asyncio.get_running_loop().sock_connect(end, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=end, limit=4096)
        writers.append(writer)
        return Wire(reader, writer)

    yield connect
    for writer in writers:
        writer.close()


def content(body: bytes) -> str:
    return str(json.loads(body)["choices"][0]["message"]["content"])


async def test_requests_sent_ahead_are_answered_in_order(front: Front, dial: Any) -> None:
    worker, served = await front()
    wire = await dial(served)
    for tokens in (1, 2, 3):
        wire.send(max_tokens=tokens)
    said = [content((await wire.answer())[1]) for _ in range(3)]
    assert said == [" one", " one two", " one two three"]
    assert len(worker.submits) == 3


async def test_a_client_that_asks_first_is_told_to_go_on(front: Front, dial: Any) -> None:
    _, served = await front()
    wire = await dial(served)
    wire.head("expect: 100-continue\r\n")
    assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.writer.write(json.dumps(BODY).encode())
    assert content((await wire.answer())[1]) == SAID


async def test_a_body_that_comes_in_pieces_is_put_together(front: Front, dial: Any) -> None:
    _, served = await front()
    wire = await dial(served)
    padded = {"user": "x" * 300_000}
    wire.head(**padded)
    body = json.dumps({**BODY, **padded}).encode()
    for start in range(0, len(body), 50_000):
        wire.writer.write(body[start : start + 50_000])
        await wire.writer.drain()
    assert content((await wire.answer())[1]) == SAID


@pytest.mark.parametrize(
    ("sent", "closes"),
    [({}, False), ({"headers": "connection: close\r\n"}, True), ({"version": "1.0"}, True)],
    ids=["HTTP/1.1", "a client that asks for the end", "HTTP/1.0"],
)
async def test_a_connection_stays_unless_the_client_wants_otherwise(
    front: Front, dial: Any, sent: Any, closes: bool
) -> None:
    _, served = await front()
    wire = await dial(served)
    wire.send(**sent)
    head, body = await wire.answer()
    assert content(body) == SAID
    assert (b"connection: close" in head) is closes
    if closes:
        assert await wire.reader.read() == b""
    else:
        wire.send()
        assert content((await wire.answer())[1]) == SAID


async def test_the_head_of_a_refusal_has_no_body(front: Front, dial: Any) -> None:
    _, served = await front()
    wire = await dial(served)
    wire.send("connection: close\r\n", method="HEAD")
    head, _, rest = (await wire.reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert rest == b""


async def test_a_client_that_leaves_before_its_body_is_complete_costs_nothing(front: Front, dial: Any) -> None:
    worker, served = await front()
    wire = await dial(served)
    wire.head()
    wire.writer.write(b'{"model"')
    await served.eventually(lambda: served.gateway.in_flight == 1)
    wire.writer.close()
    await served.eventually(lambda: served.gateway.in_flight == 0)
    assert not worker.submits


async def test_a_slow_reader_gets_everything_in_fewer_pieces(front: Front, plays: Any, dial: Any) -> None:
    """12 MB of logprobs, more than kernel and transport take: while the client does not read, the rest stays tokens."""
    tokens, choices = 48, 100
    worker, served = await front(plays(says=" one" * tokens))
    wire = await dial(served, receive_bytes=4096)
    wire.send("connection: close\r\n", stream=True, n=choices, logprobs=True, top_logprobs=20)
    (connection,) = served.gateway.pool._by_address.values()
    await worker.until(lambda: bool(worker.submits))
    await served.eventually(lambda: connection.in_flight == 0)
    assert served.gateway.in_flight == 1, "the worker has said all, the client has not read it"
    stream = b"".join([piece async for piece in pieces(wire.reader)])
    assert stream.count(b'"bytes":') == tokens * choices * 21
    assert stream.count(b'"content":[') < tokens * choices * 0.9
    assert stream.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


# ---------------------------------------------------------------------------------- requests that never quite arrive

SOON_S = 0.05
PATIENCE_S = 10
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
BODY_TO_COME = b"content-length: 9000000\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"POS", HEAD, HEAD + BODY_TO_COME + b"{", b"GET /health HTTP/1.1\r\nhost"],
    ids=["three bytes", "half a head", "half a body", "half a head for another route"],
)
async def test_a_request_that_stops_half_way_is_told_so(front: Front, dial: Any, sent: bytes) -> None:
    worker, served = await front(limits=Limits(receive_timeout_s=SOON_S))
    wire = await dial(served)
    wire.writer.write(sent)
    head, body = await wire.answer()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == "request_timeout"
    assert await wire.reader.read() == b""
    assert not worker.submits


@pytest.mark.parametrize(
    ("sent", "then"),
    [(HEAD, b"x-a: b\r\n"), (HEAD + BODY_TO_COME, b" "), (b"", b"\r\n")],
    ids=["a head", "a body", "empty lines"],
)
async def test_a_request_byte_by_byte_is_cut_off(front: Front, dial: Any, sent: bytes, then: bytes) -> None:
    _, served = await front(limits=Limits(receive_timeout_s=SOON_S))
    wire = await dial(served)
    wire.writer.write(sent)
    await send_until_cut_off(wire, itertools.cycle(bytes([byte]) for byte in then))


async def test_a_head_without_end_is_cut_off(front: Front, dial: Any) -> None:
    _, served = await front()
    wire = await dial(served)
    wire.writer.write(HEAD)
    await send_until_cut_off(wire, itertools.repeat(b"x-padding: " + b"x" * 1000 + b"\r\n"))


async def send_until_cut_off(wire: Wire, pieces: Iterable[bytes]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                wire.writer.write(piece)
                await wire.writer.drain()
                await asyncio.sleep(0)  # drain alone may never let the loop turn
                if wire.reader.at_eof():
                    return


@pytest.mark.parametrize("answered", [b"", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["new", "kept"])
async def test_a_connection_without_a_request_is_closed_without_a_word(
    front: Front, dial: Any, answered: bytes
) -> None:
    _, served = await front(limits=Limits(receive_timeout_s=SOON_S))
    wire = await dial(served)
    if answered:
        wire.writer.write(answered)
        await wire.answer()
        wire.writer.write(b"\r\n")
    assert await wire.reader.read() == b""


async def test_a_body_nobody_waits_for_does_not_hold_the_connection(front: Front, dial: Any) -> None:
    _, served = await front(limits=Limits(receive_timeout_s=SOON_S))
    wire = await dial(served)
    wire.head(method="PUT")
    assert (await wire.answer())[0].startswith(b"HTTP/1.1 405 ")
    assert await wire.reader.read() == b""


async def test_the_time_for_a_request_is_not_the_time_for_its_answer(front: Front, plays: Any, dial: Any) -> None:
    worker, served = await front(plays(), limits=Limits(receive_timeout_s=SOON_S))
    worker.gate.clear()
    waiting, late = await dial(served), await dial(served)
    waiting.send()
    waiting.head()  # of the next request, whose body waits for the answer to the first
    await worker.until(lambda: bool(worker.submits))
    late.head()
    assert (await late.answer())[0].startswith(b"HTTP/1.1 408 ")
    worker.gate.set()
    assert content((await waiting.answer())[1]) == SAID


async def pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(65_536):
        yield piece

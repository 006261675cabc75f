"""What a connection does besides one ordinary request after the other."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

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
    (connection,) = served.gateway.pool._connections.values()
    await worker.until(lambda: bool(worker.submits))
    await served.eventually(lambda: connection.in_flight == 0)
    assert served.gateway.in_flight == 1, "the worker has said all, the client has not read it"
    stream = b"".join([piece async for piece in pieces(wire.reader)])
    assert stream.count(b'"bytes":') == tokens * choices * 21
    assert stream.count(b'"content":[') < tokens * choices * 0.9
    assert stream.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(65_536):
        yield piece

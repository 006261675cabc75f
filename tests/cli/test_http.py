"""The small HTTP client, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from stoker_cli.errors import BadInput, ServerFailure
from stoker_cli.http import Connection, Target, encode


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[Target]:
    """A server that answers every request with `pieces`, flushed one by one, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Target("127.0.0.1", server.sockets[0].getsockname()[1], "/v1", tls=False)


async def ask(target: Target) -> tuple[int, bytes]:
    body = bytearray()
    connection = await Connection.open(target)
    response = await connection.request(encode(target, "GET", "/x"), lambda piece, _: body.extend(piece))
    connection.close()
    return response.status, bytes(body)


SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: z\r\n\r\n"
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\nhello"


@pytest.mark.parametrize("answer", [SIZED, CHUNKED, TO_THE_END, b"HTTP/1.1 100 Continue\r\n\r\n" + SIZED])
@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_an_answer_reads_alike_however_it_is_framed_and_cut(answer, size):
    async with answering(*(answer[i : i + size] for i in range(0, len(answer), size))) as target:
        assert await ask(target) == (200, b"hello")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (SIZED[:-1], "closed the connection"),
        (CHUNKED[:-2], "closed the connection"),
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "no HTTP"),
    ],
)
async def test_a_broken_answer_is_a_failure_and_not_a_wait(answer, message):
    async with answering(answer) as target:
        with pytest.raises(ServerFailure, match=message):
            await ask(target)


async def test_a_connection_carries_one_request_after_the_other(canned_api):
    target = Target.parse(canned_api.url)
    connection = await Connection.open(target)
    sizes = []
    for _ in range(3):
        body = bytearray()
        take: Callable[[bytes, float], None] = lambda piece, _, body=body: body.extend(piece)  # noqa: E731
        response = await connection.request(encode(target, "GET", "/models"), take)
        sizes.append((response.status, len(body), connection.usable))
    connection.close()
    assert sizes == [(200, len(b'{"data": [{"id": "canned"}]}'), True)] * 3


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://127.0.0.1:8000/v1/", Target("127.0.0.1", 8000, "/v1", tls=False)),
        ("https://models.example/inference/v1", Target("models.example", 443, "/inference/v1", tls=True)),
        ("localhost:9000", Target("localhost", 9000, "", tls=False)),
        ("http://[::1]:8000", Target("::1", 8000, "", tls=False)),
    ],
)
def test_urls_are_read(url, target):
    assert Target.parse(url) == target


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:notaport", "http://x:99999"])
def test_what_is_no_url_is_bad_input(url):
    with pytest.raises(BadInput, match="URL"):
        Target.parse(url)

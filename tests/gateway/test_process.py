"""The real process: how it starts, what it says when it cannot, and how it ends."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

BODY = {"model": "smollm2-135m-instruct", "messages": [{"role": "user", "content": "Count, please."}]}
PATIENCE_S = 60


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "stoker_gateway", *arguments]
    child = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


@pytest.fixture
def taken_port() -> Any:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--listen", "127.0.0.1:{taken}"], "another server has this port"),
        (["--listen", "0.0.0.0:0"], "no loopback address"),
        (["--keys", "/nowhere/keys.json"], "/nowhere/keys.json"),
        (["--usage-file", "/nowhere/usage.jsonl"], "/nowhere/usage.jsonl"),
        (["--salt-secret-file", "/nowhere/secret"], "/nowhere/secret"),
        (["--typo"], "--typo"),
    ],
    ids=["a busy port", "an open address without keys", "no keys", "no usage", "no secret", "an unknown option"],
)
async def test_what_cannot_start_says_why_and_ends_with_2(taken_port: int, arguments: list[str], words: str) -> None:
    arguments = [argument.format(taken=taken_port) for argument in arguments]
    async with process("serve", "--worker", "unix:/nowhere/w.sock", *arguments) as child:
        output, complaint = await asyncio.wait_for(child.communicate(), PATIENCE_S)
    assert child.returncode == 2
    assert words in complaint.decode()
    assert complaint.decode().count("\n") == 1
    assert not output


async def started(child: asyncio.subprocess.Process) -> tuple[str, list[str]]:
    """The address it serves on, and what it said until the first worker was connected."""
    assert child.stderr
    url, lines = "", []
    while not any("connected" in line for line in lines):
        lines.append((await asyncio.wait_for(child.stderr.readline(), PATIENCE_S)).decode())
        if "listening on" in lines[-1]:
            url = "http://" + lines[-1].split()[-1]
        assert child.returncode is None
        assert lines[-1], lines
    return url, lines


async def test_it_serves_and_lets_requests_finish_when_told_to_stop(stage: Any, plays: Any) -> None:
    worker = await stage.worker(plays(per_step=1))
    usage = stage.folder / "usage.jsonl"
    arguments = ["--listen", "127.0.0.1:0", "--worker", worker.address, "--usage-file", str(usage)]
    async with AsyncExitStack() as stack:
        child = await stack.enter_async_context(process("serve", *arguments))
        url, _ = await started(child)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE_S))
        worker.gate.clear()
        asked = asyncio.create_task(client.post("/v1/chat/completions", json={**BODY, "stream": True}))
        await worker.until(lambda: worker.submits)
        child.send_signal(signal.SIGTERM)
        worker.gate.set()
        assert (await asked).text.endswith("data: [DONE]\n\n")
        assert await asyncio.wait_for(child.wait(), PATIENCE_S) == 0
    assert [row["outcome"] for row in rows(usage)] == ["completed"]


async def test_a_client_that_keeps_its_connection_is_told_to_leave_before_it_closes(stage: Any, plays: Any) -> None:
    worker = await stage.worker(plays(per_step=1))
    async with AsyncExitStack() as stack:
        child = await stack.enter_async_context(process("serve", "--listen", "127.0.0.1:0", "--worker", worker.address))
        url, _ = await started(child)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE_S))
        kept = await client.post("/v1/chat/completions", json=BODY)
        assert "connection" not in kept.headers
        child.send_signal(signal.SIGTERM)
        told = [await client.post("/v1/chat/completions", json=BODY), await client.get("/v1/models")]
        while "connection" not in told[0].headers:  # the signal is on its way
            told = [await client.post("/v1/chat/completions", json=BODY), *told[1:]]
        assert [answer.status_code for answer in told] == [200, 200]
        assert told[0].headers["connection"] == "close"
        # Nobody is connected any more: it does not wait for the moment to pass.
        assert await asyncio.wait_for(child.wait(), PATIENCE_S) == 0


async def test_what_does_not_finish_in_time_is_ended_and_accounted_for(stage: Any, plays: Any) -> None:
    worker = await stage.worker(plays(wait_after=3))
    usage = stage.folder / "usage.jsonl"
    arguments = ["--listen", "127.0.0.1:0", "--worker", worker.address, "--usage-file", str(usage)]
    async with AsyncExitStack() as stack:
        child = await stack.enter_async_context(process("serve", *arguments, "--drain-timeout", "1"))
        url, _ = await started(child)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE_S))
        asked = asyncio.create_task(client.post("/v1/chat/completions", json={**BODY, "stream": True}))
        await worker.until(lambda: worker.submits)
        child.send_signal(signal.SIGINT)
        text = (await asked).text
        assert '"code":"stopping"' in text
        assert "[DONE]" not in text
        assert await asyncio.wait_for(child.wait(), PATIENCE_S) == 0
    assert [(row["outcome"], row["completion"]) for row in rows(usage)] == [("shutdown", 3)]


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]

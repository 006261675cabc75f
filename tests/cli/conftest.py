"""A server to drive: an OpenAI-compatible API on loopback whose answers are known, and the command."""

import asyncio
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stoker_cli.__main__ import main

CANNED = ["Hello", " there", "."]


@dataclass
class CannedApi:
    """Answers every completion with the same words; remembers what it was asked.

    Knobs are set by a test before it asks: `usage` says whether streams report it, `fail_with` answers an error instead.
    """

    url: str = ""
    usage: bool = True
    fail_with: tuple[int, str] | None = None
    models: list[str] = field(default_factory=lambda: ["canned"])
    asked: list[dict] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode(), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path, headers = head.split()[1], {}
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        self.keys.append(headers.get("authorization", ""))
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        if self.fail_with:
            self._plain(writer, self.fail_with[0], {"error": {"message": self.fail_with[1]}})
        elif path.endswith("/models"):
            self._plain(writer, 200, {"data": [{"id": name} for name in self.models]})
        else:
            self.asked.append(body)
            self._stream(writer, path, body)
        await writer.drain()

    def _plain(self, writer: asyncio.StreamWriter, status: int, document: dict) -> None:
        data = json.dumps(document).encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data))

    def _stream(self, writer: asyncio.StreamWriter, path: str, body: dict) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        events = [json.dumps({"choices": [self._choice(path, word)]}) for word in CANNED]
        last = self._choice(path, "") | {"finish_reason": "length" if body.get("min_tokens") else "stop"}
        events.append(json.dumps({"choices": [last]}))
        if self.usage:
            prompt = body.get("prompt") or body["messages"][-1]["content"]
            count = len(prompt) if isinstance(prompt, list) else len(prompt.split())
            usage = {"prompt_tokens": count, "completion_tokens": len(CANNED)}
            events.append(json.dumps({"choices": [], "usage": usage}))
        for event in [*events, "[DONE]"]:
            data = f"data: {event}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        writer.write(b"0\r\n\r\n")

    def _choice(self, path: str, word: str) -> dict:
        return {"delta": {"content": word}} if "chat" in path else {"text": word}


@pytest.fixture
def canned_api() -> Iterator[CannedApi]:
    """The API, serving on a loopback port from a thread of its own until the test is over."""
    api, loop, started = CannedApi(), asyncio.new_event_loop(), threading.Event()

    async def listen() -> None:
        server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        started.set()
        async with server:
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(listen(),))
    thread.start()
    assert started.wait(10)
    yield api
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.run_until_complete(asyncio.sleep(0))
    for task in asyncio.all_tasks(loop):
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def stoker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run `stoker ARGUMENTS…` to its end, in a home of its own; `stdin` is what it reads."""
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "STOKER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["stoker", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as left:
            main()
        return Done(left.value.code or 0, *capsys.readouterr())

    return run

"""A hub and an S3 service on this machine, and `fetch` as a process of its own."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from http.client import HTTPConnection
from io import StringIO
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from tests.worker.fetch.hub import Hub, running

from stoker_worker.__main__ import main

TOKEN = "hf_thisTokenMustNeverBeSeen"
BOUND_S = 60


def noise(count: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(count)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A repository with everything that one may hold, and weights of 6 MB in two shards."""
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files: dict[str, bytes | Path] = {
        "README.md": b"hello",
        "config.json": b"{}",
        "tokenizer.json": noise(100_000, 3),
        "chat_template.jinja": "{{ 'grüß' }}".encode(),
        "additional_chat_templates/rag.jinja": b"{{ x }}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1.safetensors": noise(4_000_000, 1),
        "model-2.safetensors": noise(2_000_000, 2),
        "consolidated.safetensors": noise(1000, 4),
        "pytorch_model.bin": b"pickle",
        "modeling_evil.py": b"import os",
        "onnx/model.onnx": b"x",
        ".gitattributes": b"",
    }
    with running(Hub(files)) as hub:
        yield hub


WANTED = {
    "config.json",
    "tokenizer.json",
    "chat_template.jinja",
    "additional_chat_templates/rag.jinja",
    "model.safetensors.index.json",
    "model-1.safetensors",
    "model-2.safetensors",
}


@dataclass(frozen=True)
class Run:
    """What a fetch said and how it ended."""

    code: int
    text: str

    @property
    def last(self) -> str:
        return self.text.rstrip("\n").rpartition("\n")[2]


class Fetcher:
    """`python -m stoker_worker fetch` into one folder."""

    def __init__(self, to: Path) -> None:
        self.to = to
        self.environment: dict[str, str] = {}
        self.said: list[str] = []

    def command(self, source: str, *options: str) -> list[str]:
        return [sys.executable, "-m", "stoker_worker", "fetch", f"--source={source}", f"--to={self.to}", *options]

    def start(self, source: str, *options: str, **popen: Any) -> "subprocess.Popen[str]":
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "AWS_"))}
        return subprocess.Popen(
            self.command(source, *options),
            env={**clean, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **popen,
        )

    def __call__(self, source: str, *options: str) -> Run:
        """In this process: as the verb runs, without the time that a process takes to import."""
        said = StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.MonkeyPatch.context() as patch, redirect_stderr(said):
            for name in [name for name in os.environ if name.startswith(("HF_", "AWS_"))]:
                patch.delenv(name)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            code = main(self.command(source, *options)[3:])
        for number, handler in handlers.items():
            signal.signal(number, handler)
        self.said.append(said.getvalue())
        return Run(code, said.getvalue())

    def alone(self, source: str, *options: str, **popen: Any) -> Run:
        """As a process."""
        with self.start(source, *options, **popen) as process:
            try:
                text, _ = process.communicate(timeout=BOUND_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        self.said.append(text)
        return Run(process.returncode, text)

    def files(self) -> set[str]:
        return {str(path.relative_to(self.to)) for path in self.to.rglob("*") if path.is_file()}

    def manifest(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.to / "stoker-manifest.json").read_text())
        return value

    def kill_when(self, process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> None:
        """SIGKILL as soon as `reached`, asked between two polls of its progress."""
        end = monotonic() + BOUND_S
        while not reached():
            assert process.poll() is None, "it ended before"
            assert monotonic() < end
            os.sched_yield()
        process.kill()
        process.communicate(timeout=BOUND_S)


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "model")


@pytest.fixture
def free_port() -> int:
    """A port of loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def progress(port: int) -> dict[str, int]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/progress")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "application/json"
        value: dict[str, int] = json.loads(answer.read())
        return value
    finally:
        connection.close()

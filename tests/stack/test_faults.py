"""Things break: requests end clearly or go on elsewhere, and the next ones succeed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

MODEL = "smollm2-135m-instruct"
LONG = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 300, "seed": 5, "ignore_eos": True}


def ask(url: str) -> str:
    client = openai.OpenAI(base_url=url + "/v1", api_key="none", timeout=60)
    answer = client.completions.create(model=MODEL, prompt="The capital of France is", temperature=0, max_tokens=2)
    return answer.choices[0].text


def usage_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def stream_lines(url: str, body: dict[str, Any], on_chunk: Callable[[int], None]) -> list[str]:
    lines: list[str] = []
    with httpx.stream("POST", url + "/v1/completions", json={**body, "stream": True}, timeout=120) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                lines.append(line[6:])
                on_chunk(len(lines))
    return lines


def text_of(lines: list[str]) -> str:
    chunks = [json.loads(line) for line in lines if line != "[DONE]"]
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])


def test_a_killed_engine_ends_its_requests_clearly_and_comes_back(start_stack: Callable[..., Any]) -> None:
    stack = start_stack()

    def kill_at_five(count: int) -> None:
        if count == 5:
            (engine,) = stack.children("stoker_worker engine")
            os.kill(engine, signal.SIGKILL)

    lines = stream_lines(stack.url, LONG, kill_at_five)
    if lines[-1] != "[DONE]":  # it may also have gone on after the restart
        assert json.loads(lines[-1])["error"]["message"]
    assert ask(stack.url)
    assert sum(row["outcome"] in {"failed", "moved"} for row in usage_rows(stack.usage_file)) == 1


def test_a_request_goes_on_at_another_worker_with_the_same_text(start_stack: Callable[..., Any]) -> None:
    stack = start_stack("--workers", "2")
    undisturbed = text_of(stream_lines(stack.url, LONG, lambda _count: None))
    rows_before = len(usage_rows(stack.usage_file))

    def kill_its_engine(count: int) -> None:
        if count == 40:
            busiest = max(stack.children("stoker_worker engine"), key=cpu_ticks)
            os.kill(busiest, signal.SIGKILL)

    lines = stream_lines(stack.url, LONG, kill_its_engine)
    assert lines[-1] == "[DONE]"
    assert text_of(lines) == undisturbed
    rows = usage_rows(stack.usage_file)[rows_before:]
    assert [(row["attempt"], row["outcome"]) for row in rows] == [(1, "moved"), (2, "completed")]
    assert sum(row["completion"] for row in rows) == 300


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_a_client_that_leaves_frees_its_blocks(stack: Any) -> None:
    with httpx.stream(
        "POST", stack.url + "/v1/completions", json={**LONG, "stream": True, "max_tokens": 2000}
    ) as response:
        next(response.iter_lines())
    assert ask(stack.url)  # one step later at the latest
    engines = httpx.get(stack.url + "/ready").json()["engines"]
    assert [(engine["running"], engine["waiting"]) for engine in engines] == [(0, 0)]
    assert usage_rows(stack.usage_file)[-2]["outcome"] == "client_gone"


def run_up(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stoker_cli", "up", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "absent.gguf", "absent.gguf"),
        (lambda folder: write(folder / "bad.gguf", b"not a model"), "bad.gguf"),
        (lambda folder: write(folder / "cut.gguf", b"GGUF\x03\x00\x00\x00" + b"\x01\x00\x00\x00"), "cut.gguf"),
        (lambda folder: write(folder / "model.bin", b"x"), "safetensors"),
    ],
)
def test_a_model_file_that_is_none_is_named_with_exit_code_2(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    run = run_up("--model", str(make(tmp_path)), "--state-dir", str(tmp_path / "state"), "--port", "0")
    assert run.returncode == 2
    assert words in (run.stdout + run.stderr)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_truncated_model_is_named_with_exit_code_2(tmp_path: Path, smollm2_gguf: Path) -> None:
    cut = write(tmp_path / "truncated.gguf", smollm2_gguf.read_bytes()[:50_000_000])
    run = run_up("--model", str(cut), "--state-dir", str(tmp_path / "state"))
    assert run.returncode == 2
    assert "truncated.gguf" in (run.stdout + run.stderr)


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        run = run_up("--port", port, "--state-dir", str(tmp_path / "state"))
    assert run.returncode == 2
    assert port in (run.stdout + run.stderr)


def test_a_second_up_names_the_first(start_stack: Callable[..., Any], tmp_path: Path) -> None:
    stack = start_stack()
    run = run_up("--state-dir", str(tmp_path / "state"), "--port", "1")
    assert run.returncode == 2
    assert stack.url in (run.stdout + run.stderr)
    assert str(stack.process.pid) in (run.stdout + run.stderr)


def test_an_address_beyond_loopback_needs_keys(tmp_path: Path) -> None:
    run = run_up("--host", "0.0.0.0", "--state-dir", str(tmp_path / "state"))
    assert run.returncode == 2
    assert "--keys" in (run.stdout + run.stderr)


def test_it_stops_in_order_and_leaves_no_process(start_stack: Callable[..., Any]) -> None:
    stack = start_stack()
    children = stack.children("stoker_")
    assert len(children) >= 4  # up itself, gateway, worker, engine
    assert stack.stop() == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists() and pid != stack.process.pid] == []

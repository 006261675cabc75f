"""The front as a process: what it imports, how it stops, and what it says when it cannot start."""

import asyncio
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import grpc
import pytest

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerStub
from stoker_core.text import TextBundle, bundle_digest
from stoker_worker.__main__ import main

SERVE_FAKE = str(Path(__file__).with_name("serve_fake.py"))
# Serves the real file's text side, then tells what it had to import for that.
IMPORTS = """
import sys
from stoker_worker.__main__ import main
from stoker_worker.service import server
from stoker_worker.service.model import read_model
from pathlib import Path
model = read_model(Path(sys.argv[1]), "a", ())
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_front_imports_neither_torch_nor_what_it_does_not_use(smollm2_gguf: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(smollm2_gguf)], capture_output=True, text=True, timeout=60, check=True
    )
    imported = set(done.stdout.split())
    assert {"grpc", "stoker_worker"} <= imported
    assert not imported & {"torch", "transformers", "safetensors", "opentelemetry", "prometheus_client"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "use one of: serve, engine"),
        (["dance"], "'dance' is no verb of the worker"),
        (["serve", "--model", "m", "--listen", "0.0.0.0:0"], "give --tls-cert"),
        (["serve", "--model", "/no/model.gguf", "--listen", "127.0.0.1:0"], "/no/model.gguf"),
        (["serve", "--model", "m", "--listen", "unix:/no/folder/w.sock"], "/no/folder does not exist"),
    ],
)
def test_what_cannot_work_ends_with_2_and_a_sentence(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capfd.readouterr().err


def test_the_exit_code_leaves_the_process() -> None:
    done = subprocess.run([sys.executable, "-m", "stoker_worker"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith("stoker worker: ")) == (2, True)


def test_a_busy_port_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["serve", "--model", "m", "--listen", address]) == 2
    assert f"cannot listen on {address}: it is in use" in capfd.readouterr().err


def test_a_socket_that_another_process_serves_is_left_alone(
    socket_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = socket_folder / "w.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        assert main(["serve", "--model", "m", "--listen", f"unix:{path}"]) == 2
        assert path.is_socket()
    assert f"another process serves {path}" in capfd.readouterr().err


async def start(path: Path, model: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, SERVE_FAKE, "--model", str(model), "--listen", f"unix:{path}", "--drain-timeout", "0"),
        stderr=PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_stops(socket_folder: Path, smollm2_gguf: Path, number: signal.Signals) -> None:
    path = socket_folder / "w.sock"
    process = await start(path, smollm2_gguf)
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        stub = WorkerStub(channel)
        info = await stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=60)
        digest = info.engines[0].tokenizer_digest
        data = b"".join([chunk.data async for chunk in stub.GetTokenizer(pb.GetTokenizerRequest(digest=digest))])
        assert bundle_digest(data) == digest
        assert TextBundle.from_bytes(data).eos_token
        assert path.stat().st_mode & 0o777 == 0o700
        process.send_signal(number)
        _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert not path.exists()


async def test_an_engine_ends_with_a_front_that_is_killed(socket_folder: Path, smollm2_gguf: Path) -> None:
    process = await start(socket_folder / "w.sock", smollm2_gguf)
    async with grpc.aio.insecure_channel(f"unix:{socket_folder}/w.sock") as channel:
        await WorkerStub(channel).GetInfo(pb.GetInfoRequest(), wait_for_ready=True, timeout=60)
    process.kill()
    assert process.stderr is not None
    await asyncio.wait_for(process.stderr.read(), 30)  # the engine inherited it: it ends when both are gone
    await process.wait()

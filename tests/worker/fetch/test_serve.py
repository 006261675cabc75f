"""`serve --model` starts from exactly what `fetch` leaves: the real model, as shards and as a GGUF file."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.worker.fetch.conftest import Fetcher
from tests.worker.fetch.hub import Hub, running

from stoker.worker.v1 import worker_pb2 as pb
from stoker.worker.v1.worker_pb2_grpc import WorkerStub
from stoker_core.names import PROTOCOL_VERSION
from stoker_worker.errors import ModelFileError
from stoker_worker.weights.open import open_model

IMPORTS = """
import sys
from stoker_worker.__main__ import main
from stoker_worker.fetch import bucket, hub
code = main(sys.argv[1:])
assert code == 0, code
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture
def sharded(smollm2_reference: Path, tmp_path: Path) -> Iterator[Hub]:
    """The reference folder in half precision and two shards, among what else a repository holds."""
    tensors = {
        name: data.astype(np.float16) for name, data in load_file(smollm2_reference / "model.safetensors").items()
    }
    names = sorted(tensors)
    places = {name: f"model-0000{1 + (at > len(names) // 2)}-of-00002.safetensors" for at, name in enumerate(names)}
    for shard in set(places.values()):
        save_file({name: tensors[name] for name in names if places[name] == shard}, tmp_path / shard)
    files: dict[str, bytes | Path] = {
        path.name: path for path in smollm2_reference.iterdir() if path.suffix != ".safetensors"
    }
    files |= {shard: tmp_path / shard for shard in set(places.values())}
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": places}).encode()
    files |= {"pytorch_model.bin": b"x", "modeling.py": b"import os", "README.md": b"x"}
    with running(Hub(files)) as hub:
        yield hub


@pytest.fixture
def one_file(smollm2_gguf: Path) -> Iterator[Hub]:
    with running(Hub({smollm2_gguf.name: smollm2_gguf, "README.md": b"x"})) as hub:
        yield hub


async def first_token(model: Path) -> int:
    """Of a worker that serves this folder, as its pod does."""
    with tempfile.TemporaryDirectory(prefix="stoker-") as folder:
        address = f"unix:{folder}/w.sock"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stoker_worker", "serve", "--model", str(model), "--listen", address),
            *(
                "--model-id",
                "accounts/a/models/m",
                "--drain-timeout",
                "0",
                "--max-context",
                "256",
                "--kv-tokens",
                "512",
            ),
        )
        try:
            async with asyncio.timeout(120), grpc.aio.insecure_channel(address) as channel:
                return await _ask(WorkerStub(channel))
        finally:
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)


async def _ask(stub: WorkerStub) -> int:
    info = await stub.GetInfo(pb.GetInfoRequest(), wait_for_ready=True)
    call = stub.Serve()
    await call.write(pb.Command(hello=pb.Hello(protocol=PROTOCOL_VERSION, instance="test")))
    sampling = pb.Sampling(temperature=0.0, top_p=1.0, repetition_penalty=1.0)
    submit = pb.Submit(handle=1, request_id="r", attempt=1, account="a", model=info.engines[0].model,
                       task=pb.TASK_GENERATE, token_ids=[1, 2, 3], sampling=sampling, n=1, max_tokens=1)  # fmt: skip
    ready = False
    while True:
        frame = await call.read()
        if not ready and frame.loads and frame.loads[0].state == pb.ENGINE_STATE_READY:
            ready = True
            await call.write(pb.Command(submits=[submit]))
        if frame.tokens.token_ids:
            call.cancel()
            return int(frame.tokens.token_ids[0])
        assert not frame.refused, frame.refused


async def test_shards_are_served_as_they_were_fetched(fetch: Fetcher, sharded: Hub, smollm2_reference: Path) -> None:
    assert fetch("hf://owner/name", f"--endpoint={sharded.url}").code == 0
    assert not fetch.files() & {"pytorch_model.bin", "modeling.py", "README.md", "complete"}
    assert await first_token(fetch.to) >= 0
    assert open_model(fetch.to).text() == open_model(smollm2_reference).text()


async def test_a_gguf_file_is_served_as_it_was_fetched(fetch: Fetcher, one_file: Hub, smollm2_gguf: Path) -> None:
    assert fetch("hf://owner/name", f"--endpoint={one_file.url}").code == 0
    assert fetch.files() == {smollm2_gguf.name, "stoker-manifest.json"}
    assert await first_token(fetch.to) >= 0


def test_a_folder_with_several_gguf_files_is_told(tmp_path: Path) -> None:
    for name in ("b.gguf", "a.gguf"):
        (tmp_path / name).touch()
    with pytest.raises(ModelFileError, match=r"several GGUF files \(a.gguf, b.gguf\); give one"):
        open_model(tmp_path)


def test_what_fetches_imports_neither_torch_nor_grpc(fetch: Fetcher, hub: Hub) -> None:
    arguments = fetch.command("hf://owner/name", f"--endpoint={hub.url}")[3:]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert {"botocore", "huggingface_hub"} <= imported
    assert not imported & {"torch", "transformers", "tokenizers", "grpc", "google", "boto3"}

"""A revision is the same for the same content, wherever it lies, and another for any other content."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stoker_worker.weights.fingerprint import SAMPLE_BYTES, data_samples
from stoker_worker.weights.open import open_model

WriteGguf = Callable[..., Path]


def test_a_gguf_files_revision_does_not_depend_on_where_it_lies(write_gguf: WriteGguf) -> None:
    here, there = open_model(write_gguf()), open_model(write_gguf(name="copy.gguf"))
    assert here.revision == there.revision
    assert len(here.revision) == 12
    int(here.revision, 16)


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"llama.rope.freq_base": 6000.0}},
        {"metadata": {"tokenizer.chat_template": "other"}},
        {"tensors": {"output.weight": np.ones((64, 256), np.float32)}},
        {"tensors": {"output_norm.weight": np.ones(256, np.float32)}},
    ],
    ids=["a number", "the template", "a matrix", "a vector"],
)
def test_a_gguf_files_revision_follows_its_content(changes: dict[str, object], write_gguf: WriteGguf) -> None:
    assert open_model(write_gguf()).revision != open_model(write_gguf(**changes)).revision


def test_a_folders_revision_follows_each_of_its_files(hf_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hf_folders / "llama-f32", folder)
    seen = [open_model(hf_folders / "llama-f32").revision]
    assert open_model(folder).revision == seen[0]

    config = json.loads((folder / "config.json").read_text())
    changes = {
        "config.json": json.dumps(config | {"rms_norm_eps": 0.25}),
        "tokenizer.json": "{}",
        "chat_template.jinja": "hello",
        "generation_config.json": "{}",
        "additional_chat_templates/tool_use.jinja": "tools",
    }
    for name, text in changes.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        seen.append(open_model(folder).revision)

    shard = max(folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-400] + b"\0" * 400)
    seen.append(open_model(folder).revision)
    assert len(set(seen)) == len(seen)


def test_little_of_a_large_file_is_read() -> None:
    data = np.arange(10_000_000, dtype=np.uint32).view(np.uint8)
    size, *blocks = data_samples(data, [0, 1_000_000, data.size - 100])
    assert int.from_bytes(size, "little") == data.size
    assert list(map(len, blocks)) == [SAMPLE_BYTES, SAMPLE_BYTES, 100]
    assert blocks[1] == data[1_000_000 : 1_000_000 + SAMPLE_BYTES].tobytes()

"""Model files that cannot be served: the message names the file and what is wrong with it, whatever the bytes."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker_worker.errors import ModelFileError
from stoker_worker.weights.open import open_model
from stoker_worker.weights.safetensors_source import INDEX

WriteGguf = Callable[..., Path]
Break = Callable[[Path], None]


def cut(size: int) -> Break:
    """Keep the first `size` bytes; a negative size leaves so many off."""
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def overwrite(at: int, data: bytes) -> Break:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at : at + len(data)] = data
        path.write_bytes(content)

    return change


def retype_first_tensor(code: int) -> Break:
    """Give `token_embd.weight` the tensor type `code`, which stands behind its name and two dimensions."""

    def change(path: Path) -> None:
        name = b"token_embd.weight"
        at = path.read_bytes().index(name) + len(name)
        overwrite(at + 4 + 16, struct.pack("<I", code))(path)

    return change


GGUF_BREAKS: dict[str, tuple[Break, str]] = {
    "gone": (Path.unlink, "there is no such file"),
    "empty": (cut(0), "is empty"),
    "three bytes": (cut(3), "is truncated within its metadata"),
    "cut within the metadata": (cut(300), "is truncated within its metadata"),
    "cut within the tensors": (cut(-4), "is truncated: tensor output.weight ends at byte"),
    "cut before the tensors": (cut(8000), "is truncated: tensor"),
    "something else": (overwrite(0, b"PK\3\4"), r"is not a GGUF file: it begins with b'PK\x03\x04'"),
    "an old version": (overwrite(4, struct.pack("<I", 1)), "has GGUF version 1"),
    "big-endian": (overwrite(4, struct.pack(">I", 3)), "or is big-endian"),
    "an absurd tensor count": (overwrite(8, b"\xff" * 8), "is truncated within its metadata"),
    "an absurd key length": (overwrite(24, b"\xff" * 8), "is truncated within its metadata"),
    "a tensor type from the future": (retype_first_tensor(999), "token_embd.weight has the unsupported type 999"),
    "a tensor type that is never stored": (retype_first_tensor(15), "unsupported type Q8_K; supported are F32, F16"),
}


@pytest.mark.parametrize(("breaks", "words"), GGUF_BREAKS.values(), ids=GGUF_BREAKS)
def test_broken_gguf_files(breaks: Break, words: str, write_gguf: WriteGguf) -> None:
    path = write_gguf()
    breaks(path)
    with pytest.raises(ModelFileError) as raised:
        open_model(path)
    assert raised.value.path == path
    assert words in raised.value.problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "mamba"}, "architecture 'mamba' is not supported; supported are llama, qwen2"),
        ({"metadata": {"llama.expert_count": 8}}, "mixtures of experts are not supported"),
        ({"metadata": {"split.count": 3}}, "is one part of a split model"),
        ({"metadata": {"llama.block_count": None}}, "llama.block_count is missing"),
        ({"metadata": {"llama.block_count": 3}}, "tensor model.layers.2.input_layernorm.weight is missing"),
        ({"metadata": {"llama.block_count": 2**32 - 1}}, "tensor model.layers.2.input_layernorm.weight is missing"),
        ({"tensors": {"rope_freqs.weight": np.ones(8, np.float32)}}, "tensor rope_freqs has shape [8]"),
        ({"metadata": {"llama.attention.head_count": [8, 8]}}, "llama.attention.head_count must be a whole number"),
        ({"metadata": {"llama.attention.head_count_kv": 3}}, "heads must be a multiple of KV heads"),
        (
            {"metadata": {"llama.attention.key_length": 16}},
            "q_proj.weight has shape [256, 256]; the configuration says",
        ),
        ({"metadata": {"llama.rope.dimension_count": 64}}, "64 of a head's 32 dimensions cannot rotate"),
        ({"metadata": {"llama.rope.scaling.type": "su"}}, "llama.rope.scaling.type must be one of none, linear"),
        ({"metadata": {"general.alignment": "wide"}}, "general.alignment must be a positive number"),
        ({"tensors": {"token_embd.weight": None}}, "tensor token_embd.weight is missing"),
        ({"tensors": {"blk.1.ffn_up.weight": None}}, "tensor model.layers.1.mlp.up_proj.weight is missing"),
        (
            {"tensors": {"blk.0.attn_q_norm.weight": np.ones(32, np.float32)}},
            "tensor blk.0.attn_q_norm.weight belongs to no llama model that is supported",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_gguf_files_of_unsupported_or_incomplete_models(
    changes: dict[str, object], words: str, write_gguf: WriteGguf
) -> None:
    path = write_gguf(**changes)
    with pytest.raises(ModelFileError) as raised:
        open_model(path)
    assert raised.value.path == path
    assert words in raised.value.problem


def first_shard(folder: Path) -> Path:
    return min(folder.glob("*.safetensors"))


def on_shard(breaks: Break) -> Break:
    return lambda folder: breaks(first_shard(folder))


def pickled(folder: Path) -> None:
    for path in (*folder.glob("*.safetensors"), folder / INDEX):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")


def edit_header(change: Callable[[dict[str, dict[str, object]]], None]) -> Break:
    """Rewrite the first shard's header."""

    def breaks(folder: Path) -> None:
        content = first_shard(folder).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        change(header)
        changed = json.dumps(header).encode()
        first_shard(folder).write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])

    return breaks


def edit_first_tensor(key: str, value: object) -> Break:
    return edit_header(lambda header: header[next(k for k in header if k != "__metadata__")].update({key: value}))


def rewrite(name: str, text: str) -> Break:
    return lambda folder: (folder / name).write_text(text)


def remove(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


FOLDER_BREAKS: dict[str, tuple[Break, str]] = {
    "gone": (shutil.rmtree, "there is no such file"),
    "an architecture that is no name": (
        rewrite("config.json", '{"architectures": [[]]}'),
        "architecture [] is not supp",
    ),
    "no config": (remove("config.json"), "config.json: is missing from the model folder"),
    "bad JSON in config": (rewrite("config.json", "{'a': 1}"), "config.json: is not valid JSON"),
    "config is a list": (rewrite("config.json", "[]"), "config.json: must hold a JSON object"),
    "deeply nested config": (rewrite("config.json", "[" * 100_000), "config.json: is not valid JSON"),
    "bad JSON in index": (rewrite(INDEX, "{"), f"{INDEX}: is not valid JSON"),
    "empty index": (rewrite(INDEX, "{}"), f"{INDEX}: weight_map must be an object"),
    "index leads elsewhere": (
        rewrite(INDEX, '{"weight_map": {"a": "../x.safetensors"}}'),
        "must be a file of this fold",
    ),
    "index lists a tensor that is nowhere": (
        edit_header(lambda header: header.pop(next(k for k in header if k != "__metadata__"))),
        "is missing, model.safetensors.index.json says that it is here",
    ),
    "no weights": (
        lambda folder: [p.unlink() for p in folder.glob("*safetensors*")],
        "holds neither model.safetensors",
    ),
    "pickles only": (pickled, "pickled weights (pytorch_model.bin); only safetensors and GGUF are read"),
    "a shard is gone": (on_shard(Path.unlink), "this shard is missing"),
    "an empty shard": (on_shard(cut(0)), "is empty"),
    "a shard of four bytes": (on_shard(cut(4)), "is not a safetensors file"),
    "a shard cut within its header": (on_shard(cut(20)), "is truncated within its header"),
    "a shard cut within its data": (on_shard(cut(-4)), "is truncated: tensor"),
    "a shard of something else": (on_shard(overwrite(0, b"PK\3\4PK\3\4")), "is not a safetensors file"),
    "a header that is no JSON": (on_shard(overwrite(8, b"????")), "is not valid JSON"),
    "an unsupported dtype": (edit_first_tensor("dtype", "F8_E4M3"), "has the unsupported dtype F8_E4M3; supported are"),
    "offsets that do not fit": (edit_first_tensor("shape", [1, 1]), "its offsets do not fit its shape [1, 1]"),
    "negative offsets": (edit_first_tensor("data_offsets", [-99999999, -99999000]), "its offsets do not fit its shape"),
    "an entry without a dtype": (edit_first_tensor("data_offsets", None), "is malformed"),
}


@pytest.mark.parametrize(("breaks", "words"), FOLDER_BREAKS.values(), ids=FOLDER_BREAKS)
def test_broken_folders(breaks: Break, words: str, hf_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hf_folders / "qwen2-bf16", folder)
    breaks(folder)
    with pytest.raises(ModelFileError) as raised:
        open_model(folder)
    assert str(raised.value).startswith(str(folder))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [("model.pt", "only safetensors and GGUF are read"), ("model.safetensors", "give the folder that holds it")],
)
def test_files_that_are_no_model_by_themselves(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelFileError, match=words):
        open_model(tmp_path / name)


def open_and_read(path: Path) -> None:
    """All that serving does with a model file. Nothing but ModelFileError may come out of it."""
    try:
        source = open_model(path)
        for name in source.names():
            source.read(name)
        source.text()
    except ModelFileError:
        pass


MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def intact_gguf(write_gguf: WriteGguf) -> bytes:
    return write_gguf(kind=GGMLQuantizationType.Q4_0).read_bytes()


@MANY
@given(at=st.integers(0, 6000), data=st.binary(min_size=1, max_size=9))
def test_no_damage_to_a_gguf_file_escapes_as_another_error(
    at: int, data: bytes, intact_gguf: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(intact_gguf)
    overwrite(at, data)(path)
    with np.errstate(all="ignore"):
        open_and_read(path)


@pytest.fixture
def intact_folder(hf_folders: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hf_folders / "qwen2-bf16", tmp_path / "model"))


@MANY
@given(at=st.integers(0, 1500), data=st.binary(min_size=1, max_size=9))
def test_no_damage_to_a_shard_escapes_as_another_error(at: int, data: bytes, intact_folder: Path) -> None:
    shard = first_shard(intact_folder)
    intact = shard.read_bytes()
    overwrite(at, data)(shard)
    open_and_read(intact_folder)
    shard.write_bytes(intact)

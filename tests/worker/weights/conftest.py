"""Tiny models made on the fly: GGUF files in any quantisation, and Hugging Face folders from transformers."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from numpy.typing import NDArray

HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCAB, LAYERS = 256, 512, 8, 4, 32, 64, 2
TOKENS = [f"<{i}>" if i < 3 else f"t{i}" for i in range(VOCAB)]

WriteGguf = Callable[..., Path]


def tiny_shapes(bias: bool = False) -> dict[str, tuple[int, ...]]:
    """Every tensor of a tiny model with a head of its own, by GGUF name, outermost dimension first."""
    kv = KV_HEADS * HEAD_DIM
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        rows = {"attn_q": HIDDEN, "attn_k": kv, "attn_v": kv, "attn_output": HIDDEN, "ffn_gate": INNER, "ffn_up": INNER}
        shapes |= {f"blk.{layer}.{part}.weight": (count, HIDDEN) for part, count in rows.items()}
        shapes[f"blk.{layer}.ffn_down.weight"] = (HIDDEN, INNER)
        shapes |= {f"blk.{layer}.{part}.weight": (HIDDEN,) for part in ("attn_norm", "ffn_norm")}
        if bias:
            shapes |= {f"blk.{layer}.{part}.bias": (rows[part],) for part in ("attn_q", "attn_k", "attn_v")}
    return shapes | {"output_norm.weight": (HIDDEN,), "output.weight": (VOCAB, HIDDEN)}


def tiny_metadata(architecture: str = "llama") -> dict[str, Any]:
    """What a tiny model's metadata must say; floats are written as FLOAT32, whole numbers as UINT32."""
    return {
        f"{architecture}.context_length": 128,
        f"{architecture}.embedding_length": HIDDEN,
        f"{architecture}.feed_forward_length": INNER,
        f"{architecture}.block_count": LAYERS,
        f"{architecture}.attention.head_count": HEADS,
        f"{architecture}.attention.head_count_kv": KV_HEADS,
        f"{architecture}.attention.layer_norm_rms_epsilon": 0.5,
        f"{architecture}.rope.freq_base": 5000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (VOCAB - 3),
        "tokenizer.ggml.merges": ["t 1"],
        "tokenizer.ggml.eos_token_id": 2,
    }


def encode(values: NDArray[np.float32], kind: Kind) -> NDArray[Any]:
    """Values in a quantisation that the gguf package can write; for one that it only reads, random blocks with sane scales."""
    try:
        return gguf.quants.quantize(values, kind)
    except NotImplementedError:
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = np.random.default_rng(values.size).integers(0, 256, (values.size // elements, size), np.uint8)
        scales = slice(-2, None) if kind is Kind.Q6_K else slice(0, 4)
        blocks[:, scales] = np.tile(np.array([0.01], np.float16).view(np.uint8), (len(blocks), 2))[
            :, : blocks[0, scales].size
        ]
        return blocks.reshape(*values.shape[:-1], -1)


@pytest.fixture
def write_gguf(tmp_path: Path) -> WriteGguf:
    """Writes a tiny model. `metadata` and `tensors` go over the usual ones; None takes one away."""

    def write(
        architecture: str = "llama",
        kind: Kind = Kind.F32,
        metadata: Mapping[str, Any] = {},
        tensors: Mapping[str, NDArray[np.float32] | None] = {},
        bias: bool = False,
        name: str = "tiny.gguf",
    ) -> Path:
        rng = np.random.default_rng(7)
        values: dict[str, NDArray[np.float32] | None] = {
            key: rng.standard_normal(shape).astype(np.float32) for key, shape in tiny_shapes(bias).items()
        }
        writer = GGUFWriter(tmp_path / name, architecture)
        for key, value in (tiny_metadata(architecture) | metadata).items():
            _add(writer, key, value)
        for key, array in (values | tensors).items():
            if array is not None:
                tensor_kind = kind if array.ndim > 1 else Kind.F32
                writer.add_tensor(key, encode(array, tensor_kind), raw_dtype=tensor_kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    return write


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    match value:
        case None:
            pass
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


@pytest.fixture(scope="session")
def hf_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that make_folders.py writes, each beside NAME.npz, the values to expect."""
    root = tmp_path_factory.mktemp("hf")
    script = Path(__file__).with_name("make_folders.py")
    subprocess.run([sys.executable, str(script), str(root)], check=True, capture_output=True)
    return root

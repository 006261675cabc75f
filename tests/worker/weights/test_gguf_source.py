"""Tensors of GGUF files, under Hugging Face's names and in its row order."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.constants import GGML_QUANT_SIZES

from stoker_worker.weights.dequantise import SLAB, dequantise
from stoker_worker.weights.open import open_model

WriteGguf = Callable[..., Path]

HF_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "blk.1.attn_norm.weight": "model.layers.1.input_layernorm.weight",
    "blk.1.attn_v.weight": "model.layers.1.self_attn.v_proj.weight",
    "blk.1.attn_output.weight": "model.layers.1.self_attn.o_proj.weight",
    "blk.1.ffn_norm.weight": "model.layers.1.post_attention_layernorm.weight",
    "blk.1.ffn_gate.weight": "model.layers.1.mlp.gate_proj.weight",
    "blk.1.ffn_up.weight": "model.layers.1.mlp.up_proj.weight",
    "blk.1.ffn_down.weight": "model.layers.1.mlp.down_proj.weight",
}
KINDS = (Kind.F32, Kind.F16, Kind.BF16, Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0, Kind.Q4_K, Kind.Q6_K)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_quantisation_reads_as_the_gguf_package_reads_it(kind: Kind, write_gguf: WriteGguf) -> None:
    path = write_gguf(kind=kind)
    source = open_model(path)
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for gguf_name, name in HF_NAMES.items():
        tensor = theirs[gguf_name]
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert source.read(name).dtype == np.float32
        assert source.shape(name) == expected.shape
        np.testing.assert_array_equal(source.read(name), expected)


@pytest.mark.parametrize("part", ["q", "k"])
def test_a_llama_files_interleaved_heads_come_back_in_halves(part: str, write_gguf: WriteGguf) -> None:
    heads = {"q": 8, "k": 4}[part]
    original = np.random.default_rng(0).standard_normal((heads * 32, 256)).astype(np.float32)
    interleaved = original.reshape(heads, 2, 16, 256).swapaxes(1, 2).reshape(original.shape)
    source = open_model(write_gguf(tensors={f"blk.0.attn_{part}.weight": interleaved}))
    np.testing.assert_array_equal(source.read(f"model.layers.0.self_attn.{part}_proj.weight"), original)


def test_a_qwen2_files_heads_and_biases_stay_as_they_are(write_gguf: WriteGguf) -> None:
    weight = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    bias = np.arange(256, dtype=np.float32)
    path = write_gguf("qwen2", bias=True, tensors={"blk.0.attn_q.weight": weight, "blk.0.attn_q.bias": bias})
    source = open_model(path)
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.q_proj.weight"), weight)
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.q_proj.bias"), bias)
    assert source.config.qkv_bias
    assert not source.config.o_bias


@pytest.mark.parametrize("rows", [slice(0, 16), slice(64, 128), slice(3, 60, 7), slice(60, None), slice(5, 5)], ids=str)
@pytest.mark.parametrize("kind", [Kind.F32, Kind.Q4_1, Kind.Q6_K], ids=lambda kind: kind.name)
def test_rows_of_a_tensor_are_the_same_as_in_the_whole(rows: slice, kind: Kind, write_gguf: WriteGguf) -> None:
    source = open_model(write_gguf(kind=kind))
    for name in source.names():
        np.testing.assert_array_equal(source.read(name, rows), source.read(name)[rows])


def test_what_is_read_belongs_to_the_caller(write_gguf: WriteGguf) -> None:
    source = open_model(write_gguf())
    for name in source.names():
        for rows in (None, slice(0, 8)):
            values = source.read(name, rows)
            before = values.copy()
            values += 1.0
            np.testing.assert_array_equal(source.read(name, rows), before)


def test_an_unknown_name_is_a_key_error(write_gguf: WriteGguf) -> None:
    source = open_model(write_gguf())
    with pytest.raises(KeyError):
        source.read("model.layers.9.mlp.up_proj.weight")
    with pytest.raises(KeyError):
        source.shape("nothing")


def test_divisors_of_rotary_frequencies_are_one_more_tensor(write_gguf: WriteGguf) -> None:
    divisors = np.linspace(1, 8, 16).astype(np.float32)
    source = open_model(write_gguf(tensors={"rope_freqs.weight": divisors}))
    assert "rope_freqs" in source.names()
    np.testing.assert_array_equal(source.read("rope_freqs"), divisors)


def test_total_bytes_are_the_weights_own(write_gguf: WriteGguf) -> None:
    source = open_model(write_gguf())
    assert source.total_bytes == 4 * sum(int(np.prod(source.shape(name))) for name in source.names())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("elements", [256, SLAB, SLAB + 256, 2 * SLAB + 768])
def test_slabs_join_without_a_seam(kind: Kind, elements: int) -> None:
    block, size = GGML_QUANT_SIZES[kind]
    one = np.zeros((1, size), np.uint8)
    one[:, :4] = 8  # a small scale, wherever the kind has it
    one[:, -2:] = 8
    blocks = np.repeat(one, elements // block, axis=0)
    blocks[:, size // 2] = np.arange(len(blocks)) % 64
    expected = gguf.quants.dequantize(blocks, kind).reshape(-1)
    np.testing.assert_array_equal(dequantise(blocks, kind), expected)


def test_reading_needs_little_more_memory_than_the_tensor(smollm2_gguf: Path) -> None:
    source = open_model(smollm2_gguf)
    name = "model.embed_tokens.weight"
    source.read(name, slice(0, 8))
    tracemalloc.start()
    values = source.read(name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * values.nbytes

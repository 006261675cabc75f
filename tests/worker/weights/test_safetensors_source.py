"""Hugging Face folders as transformers writes them."""

from pathlib import Path

import numpy as np
import pytest

from stoker_worker.models.config import RopeKind
from stoker_worker.weights.open import open_model
from stoker_worker.weights.safetensors_source import INDEX

NAMES = ("llama-f32", "llama3-bf16", "llama-biases-f16", "mistral-bf16", "qwen2-bf16")


@pytest.mark.parametrize("name", NAMES)
def test_shards_give_each_tensor_with_the_values_that_were_saved(name: str, hf_folders: Path) -> None:
    source = open_model(hf_folders / name)
    assert (hf_folders / name / INDEX).exists()
    with np.load(hf_folders / f"{name}.npz") as expected:
        wanted = set(expected) - ({"lm_head.weight"} if source.config.tie_embeddings else set())
        assert set(source.names()) == wanted
        for tensor in wanted:
            values = source.read(tensor)
            assert values.dtype == np.float32
            assert source.shape(tensor) == expected[tensor].shape
            np.testing.assert_array_equal(values, expected[tensor])


@pytest.mark.parametrize("rows", [slice(0, 16), slice(3, 60, 7), slice(60, None), slice(5, 5)], ids=str)
@pytest.mark.parametrize("name", ["llama-f32", "llama-biases-f16", "qwen2-bf16"])
def test_rows_of_a_tensor_are_the_same_as_in_the_whole(name: str, rows: slice, hf_folders: Path) -> None:
    source = open_model(hf_folders / name)
    for tensor in source.names():
        np.testing.assert_array_equal(source.read(tensor, rows), source.read(tensor)[rows])


def test_what_is_read_belongs_to_the_caller(hf_folders: Path) -> None:
    source = open_model(hf_folders / "llama-f32")
    for rows in (None, slice(0, 8)):
        values = source.read("model.norm.weight", rows)
        before = values.copy()
        values += 1.0
        np.testing.assert_array_equal(source.read("model.norm.weight", rows), before)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-f32", {"architecture": "llama", "tie_embeddings": True, "head_dim": 16, "context_length": 2048}),
        ("llama3-bf16", {"tie_embeddings": False, "rope_theta": 500000.0, "context_length": 512}),
        ("llama-biases-f16", {"qkv_bias": True, "o_bias": True, "mlp_bias": True, "head_dim": 32}),
        ("mistral-bf16", {"architecture": "mistral", "sliding_window": 48, "qkv_bias": False}),
        ("qwen2-bf16", {"architecture": "qwen2", "qkv_bias": True, "o_bias": False, "sliding_window": 0}),
    ],
)
def test_configurations_as_transformers_saves_them(name: str, expected: dict[str, object], hf_folders: Path) -> None:
    config = open_model(hf_folders / name).config
    assert (config.vocab_size, config.hidden_size, config.num_layers) == (96, 64, 2)
    assert (config.num_heads, config.num_kv_heads) == (4, 2)
    assert {key: getattr(config, key) for key in expected} == expected


def test_llama3_scaling_as_transformers_saves_it(hf_folders: Path) -> None:
    scaling = open_model(hf_folders / "llama3-bf16").config.rope_scaling
    assert (scaling.kind, scaling.factor, scaling.original_context) == (RopeKind.LLAMA3, 8.0, 64)
    assert (scaling.low_freq_factor, scaling.high_freq_factor) == (1.0, 4.0)


def test_total_bytes_are_the_weights_own(hf_folders: Path) -> None:
    source = open_model(hf_folders / "qwen2-bf16")
    assert source.total_bytes == 2 * sum(int(np.prod(source.shape(name))) for name in source.names())

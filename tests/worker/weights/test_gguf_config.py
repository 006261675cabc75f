"""GGUF metadata → ModelConfig."""

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stoker_worker.models.config import ModelConfig, RopeKind, RopeScaling
from stoker_worker.weights.open import open_model

WriteGguf = Callable[..., Path]


def test_a_plain_llama_file(write_gguf: WriteGguf) -> None:
    assert open_model(write_gguf()).config == ModelConfig(
        architecture="llama",
        vocab_size=64,
        hidden_size=256,
        intermediate_size=512,
        num_layers=2,
        num_heads=8,
        num_kv_heads=4,
        head_dim=32,
        context_length=128,
        rms_norm_eps=0.5,
        rope_theta=5000.0,
    )


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"llama.rope.dimension_count": 32}, {"rope_dim": 0}),
        ({"llama.rope.dimension_count": 16}, {"rope_dim": 16}),
        ({"llama.rope.freq_base": None}, {"rope_theta": 10000.0}),
        ({"llama.attention.key_length": 32}, {"head_dim": 32}),
        ({"llama.attention.sliding_window": 48}, {"sliding_window": 48}),
        ({"llama.vocab_size": 60}, {"vocab_size": 64}),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0},
            {"rope_scaling": RopeScaling(RopeKind.LINEAR, factor=4.0, original_context=128), "context_length": 128},
        ),
        (
            {
                "llama.rope.scaling.type": "yarn",
                "llama.rope.scaling.factor": 4.0,
                "llama.rope.scaling.original_context_length": 64,
                "llama.rope.scaling.yarn_beta_fast": 16.0,
                "llama.rope.scaling.attn_factor": 0.5,
            },
            {
                "rope_scaling": RopeScaling(
                    RopeKind.YARN,
                    factor=4.0,
                    original_context=64,
                    beta_fast=16.0,
                    attention_factor=0.5 * (0.1 * log(4.0) + 1.0),
                ),
                "context_length": 256,
            },
        ),
    ],
    ids=", ".join,
)
def test_metadata_shapes_the_configuration(
    metadata: dict[str, Any], expected: dict[str, Any], write_gguf: WriteGguf
) -> None:
    config = open_model(write_gguf(metadata=metadata)).config
    assert {key: getattr(config, key) for key in expected} == expected


def test_longrope_factors_come_from_their_tensors(write_gguf: WriteGguf) -> None:
    factors = {
        f"rope_factors_{kind}.weight": np.full(16, value, np.float32) for kind, value in (("short", 1), ("long", 3))
    }
    source = open_model(write_gguf(metadata={"llama.rope.scaling.original_context_length": 32}, tensors=factors))
    scaling = source.config.rope_scaling
    assert (scaling.kind, scaling.factor, scaling.original_context) == (RopeKind.LONGROPE, 4.0, 32)
    assert (scaling.short_factor, scaling.long_factor) == ((1.0,) * 16, (3.0,) * 16)
    assert not any(name.startswith("rope") for name in source.names())


def test_without_a_head_of_its_own_the_embedding_is_tied(write_gguf: WriteGguf) -> None:
    source = open_model(write_gguf(tensors={"output.weight": None}))
    assert source.config.tie_embeddings
    assert "lm_head.weight" not in source.names()

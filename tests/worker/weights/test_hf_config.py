"""config.json, in the spellings of several years, → ModelConfig."""

import json
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.errors import ModelFileError
from stoker_worker.models.config import RopeKind, RopeScaling
from stoker_worker.weights.hf_config import read_config

BASE = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
MISTRAL = {"architectures": ["MistralForCausalLM"]}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 2.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 512}


def write(folder: Path, extra: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({key: value for key, value in (BASE | extra).items() if value != "absent"}))
    return path


def rope(kind: RopeKind, **values: Any) -> dict[str, RopeScaling]:
    return {"rope_scaling": RopeScaling(kind, **values)}


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {"num_kv_heads": 4, "head_dim": 16, "context_length": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}),
        ({"head_dim": 32, "num_key_value_heads": 1}, {"head_dim": 32, "num_kv_heads": 1}),
        ({"head_dim": None}, {"head_dim": 16}),
        ({"attention_bias": True}, {"qkv_bias": True, "o_bias": True, "mlp_bias": False}),
        ({"mlp_bias": True}, {"qkv_bias": False, "mlp_bias": True}),
        ({"tie_word_embeddings": True}, {"tie_embeddings": True}),
        ({"sliding_window": 16}, {"sliding_window": 0}),
        ({"partial_rotary_factor": 0.5}, {"rope_dim": 8}),
        (MISTRAL, {"num_kv_heads": 8, "sliding_window": 4096, "qkv_bias": False}),
        (MISTRAL | {"sliding_window": None}, {"sliding_window": 0}),
        (MISTRAL | {"sliding_window": 64}, {"sliding_window": 64}),
        (QWEN2, {"qkv_bias": True, "o_bias": False, "sliding_window": 0}),
        (QWEN2 | {"sliding_window": 64}, {"sliding_window": 0}),
        (QWEN2 | {"sliding_window": 64, "use_sliding_window": True, "max_window_layers": 0}, {"sliding_window": 64}),
        (QWEN2 | {"sliding_window": 64, "use_sliding_window": True, "max_window_layers": 4}, {"sliding_window": 0}),
        ({"rope_theta": 5e5}, {"rope_theta": 5e5}),
        (
            {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
            {"rope_theta": 5e5, **rope(RopeKind.DEFAULT)},
        ),
        ({"rope_scaling": None, "rope_theta": 1e6}, {"rope_theta": 1e6, **rope(RopeKind.DEFAULT)}),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0}},
            rope(RopeKind.LINEAR, factor=2.0, original_context=2048),
        ),
        (
            {"rope_parameters": {"rope_type": "dynamic", "factor": 3.0, "rope_theta": 1e4}},
            rope(RopeKind.DYNAMIC, factor=3.0, original_context=2048),
        ),
        (
            {"rope_scaling": {"rope_type": "llama3", **LLAMA3}, "max_position_embeddings": 4096, "rope_theta": 5e5},
            {
                **rope(RopeKind.LLAMA3, factor=8.0, original_context=512, low_freq_factor=2.0, high_freq_factor=4.0),
                "context_length": 4096,
                "rope_theta": 5e5,
            },
        ),
        (
            QWEN2
            | {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}}
            | {"max_position_embeddings": 1024},
            {**rope(RopeKind.YARN, factor=4.0, original_context=1024), "context_length": 4096},
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 2.0,
                    "beta_fast": 16,
                    "beta_slow": 2,
                    "mscale": 0.7,
                    "mscale_all_dim": 0.8,
                    "truncate": False,
                    "attention_factor": 1.25,
                    "rope_theta": 1e4,
                }
            },
            rope(
                RopeKind.YARN,
                factor=2.0,
                original_context=2048,
                beta_fast=16.0,
                beta_slow=2.0,
                mscale=0.7,
                mscale_all_dim=0.8,
                truncate=False,
                attention_factor=1.25,
            ),
        ),
        (
            {
                "rope_scaling": {"type": "su", "short_factor": [1, 1.5], "long_factor": [2, 3]},
                "max_position_embeddings": 4096,
                "original_max_position_embeddings": 1024,
            },
            rope(RopeKind.LONGROPE, factor=4.0, original_context=1024, short_factor=(1.0, 1.5), long_factor=(2.0, 3.0)),
        ),
    ],
    ids=lambda value: json.dumps(value, default=str)[:60],
)
def test_what_a_configuration_means(extra: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    config = read_config(write(tmp_path, extra))
    assert {key: getattr(config, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture GPT2LMHeadModel is not supported; supported are Llama"),
        ({"architectures": "absent"}, "architecture none is not supported"),
        ({"hidden_size": "absent"}, "hidden_size is missing"),
        ({"hidden_size": "64"}, "hidden_size must be a whole number from 1, it is '64'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a whole number from 1"),
        ({"num_attention_heads": True}, "num_attention_heads must be a whole number"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps must be a number"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps must be a number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false"),
        ({"rope_scaling": "linear"}, "rope_scaling must be an object"),
        ({"rope_scaling": {"type": "mrope"}}, "rope_scaling.type must be one of default, linear"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling.factor is missing"),
        (
            {"rope_scaling": {"type": "su", "long_factor": ["x"], "short_factor": []}},
            "long_factor must be a list of num",
        ),
        ({"quantization_config": {"quant_method": "gptq"}}, "weights quantised by 'gptq' are not supported"),
        (
            QWEN2 | {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2},
            "set use_sliding_window to false",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_configuration(extra: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path, extra)
    with pytest.raises(ModelFileError, match=r"config\.json: ") as raised:
        read_config(path)
    assert words in raised.value.problem

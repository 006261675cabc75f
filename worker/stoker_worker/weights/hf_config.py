"""A Hugging Face config.json → ModelConfig."""

from dataclasses import dataclass
from pathlib import Path

from stoker_worker.errors import ModelFileError
from stoker_worker.models.config import ModelConfig, RopeKind, RopeScaling
from stoker_worker.weights.fields import Fields
from stoker_worker.weights.json_files import read_json
from stoker_worker.weights.rope import stretched_context


@dataclass(frozen=True, slots=True)
class _Family:
    """What a config.json means where it is silent, and what only the architecture says.

    num_kv_heads  0: as many as heads
    qkv_bias      None: as `attention_bias` says, which then holds for o_proj too
    """

    name: str
    num_kv_heads: int
    context_length: int
    sliding_window: int
    qkv_bias: bool | None


_FAMILIES = {
    "LlamaForCausalLM": _Family("llama", 0, 2048, 0, None),
    "MistralForCausalLM": _Family("mistral", 8, 131072, 4096, False),
    "Qwen2ForCausalLM": _Family("qwen2", 32, 32768, 4096, True),
}
_ROPE_ALIASES = {"su": "longrope"}


def read_config(path: Path) -> ModelConfig:
    """The decoder's shape. Raises ModelFileError for another architecture, and for missing or impossible values."""
    fields = Fields(path, read_json(path))
    family = _family(fields)
    if fields.has("quantization_config"):
        method = fields.child("quantization_config").raw("quant_method")
        raise ModelFileError(path, f"weights quantised by {method!r} are not supported; use bf16, f16, f32 or GGUF")
    num_heads = fields.integer("num_attention_heads", least=1)
    hidden_size = fields.integer("hidden_size", least=1)
    head_dim = fields.integer("head_dim", hidden_size // num_heads, least=1)
    context_length = fields.integer("max_position_embeddings", family.context_length, least=1)
    rope = _rope_fields(fields)
    scaling = _rope_scaling(fields, rope, context_length)
    attention_bias = fields.flag("attention_bias", False) if family.qkv_bias is None else family.qkv_bias
    return ModelConfig(
        architecture=family.name,
        vocab_size=fields.integer("vocab_size", least=1),
        hidden_size=hidden_size,
        intermediate_size=fields.integer("intermediate_size", least=1),
        num_layers=fields.integer("num_hidden_layers", least=1),
        num_heads=num_heads,
        num_kv_heads=fields.integer("num_key_value_heads", family.num_kv_heads or num_heads, least=1),
        head_dim=head_dim,
        context_length=stretched_context(context_length, scaling),
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope_theta=rope.number("rope_theta", fields.number("rope_theta", 10000.0)),
        rope_scaling=scaling,
        rope_dim=_rope_dim(fields, rope, head_dim),
        tie_embeddings=fields.flag("tie_word_embeddings", False),
        qkv_bias=attention_bias,
        o_bias=attention_bias and family.qkv_bias is None,
        mlp_bias=fields.flag("mlp_bias", False),
        sliding_window=_sliding_window(fields, family),
        hidden_act=fields.text("hidden_act", "silu"),
    )


def _family(fields: Fields) -> _Family:
    architectures = [str(name) for name in fields.array("architectures")]
    for name in architectures:
        if name in _FAMILIES:
            return _FAMILIES[name]
    shown = ", ".join(architectures) or "none"
    raise ModelFileError(fields.path, f"architecture {shown} is not supported; supported are {', '.join(_FAMILIES)}")


def _rope_fields(fields: Fields) -> Fields:
    """`rope_parameters` since transformers 5, `rope_scaling` before."""
    return fields.child("rope_parameters" if fields.has("rope_parameters") else "rope_scaling")


def _rope_scaling(fields: Fields, rope: Fields, context_length: int) -> RopeScaling:
    kind = _rope_kind(rope)
    defaults = RopeScaling()
    if kind is RopeKind.DEFAULT:
        return defaults
    outer_original = fields.integer("original_max_position_embeddings", context_length, least=1)
    original = rope.integer("original_max_position_embeddings", outer_original, least=1)
    # Phi-style configurations leave LongRoPE's factor to be computed.
    implied_factor = context_length / original if kind is RopeKind.LONGROPE else None
    return RopeScaling(
        kind=kind,
        factor=rope.number("factor", implied_factor),
        original_context=original,
        attention_factor=rope.number("attention_factor") if rope.has("attention_factor") else None,
        beta_fast=rope.number("beta_fast", defaults.beta_fast),
        beta_slow=rope.number("beta_slow", defaults.beta_slow),
        mscale=rope.number("mscale", defaults.mscale),
        mscale_all_dim=rope.number("mscale_all_dim", defaults.mscale_all_dim),
        truncate=rope.flag("truncate", defaults.truncate),
        low_freq_factor=rope.number("low_freq_factor", defaults.low_freq_factor),
        high_freq_factor=rope.number("high_freq_factor", defaults.high_freq_factor),
        short_factor=rope.numbers("short_factor"),
        long_factor=rope.numbers("long_factor"),
    )


def _rope_kind(rope: Fields) -> RopeKind:
    """`rope_type`, or `type` in older files."""
    key = "rope_type" if rope.has("rope_type") else "type"
    name = rope.text(key, "default")
    try:
        return RopeKind(_ROPE_ALIASES.get(name, name))
    except ValueError:
        raise rope.wrong(key, f"one of {', '.join(RopeKind)}") from None


def _rope_dim(fields: Fields, rope: Fields, head_dim: int) -> int:
    factor = rope.number("partial_rotary_factor", fields.number("partial_rotary_factor", 1.0))
    return 0 if factor == 1.0 else int(head_dim * factor)


def _sliding_window(fields: Fields, family: _Family) -> int:
    """The window of all layers, 0 for none. A null in the file means none; Qwen2 has a switch of its own."""
    if family.sliding_window == 0 or (family.name == "qwen2" and not fields.flag("use_sliding_window", False)):
        return 0
    window = fields.integer("sliding_window", 0) if fields.mentions("sliding_window") else family.sliding_window
    if family.name != "qwen2":
        return window
    layers_without = fields.integer("max_window_layers", 28)
    if layers_without and layers_without < fields.integer("num_hidden_layers"):
        raise ModelFileError(
            fields.path, "layers with and without a sliding window are not supported; set use_sliding_window to false"
        )
    return 0 if layers_without else window

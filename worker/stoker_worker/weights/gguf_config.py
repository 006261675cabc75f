"""GGUF metadata → ModelConfig."""

from stoker_worker.errors import ModelFileError
from stoker_worker.models.config import ModelConfig, RopeKind, RopeScaling
from stoker_worker.weights.dequantise import dequantise
from stoker_worker.weights.fields import Fields
from stoker_worker.weights.gguf_file import GgufFile
from stoker_worker.weights.rope import stretched_context, yarn_magnitude

# llama.cpp's converter files Mistral under "llama".
ARCHITECTURES = ("llama", "qwen2")

_ROPE_KINDS = {
    "none": RopeKind.DEFAULT,
    "linear": RopeKind.LINEAR,
    "yarn": RopeKind.YARN,
    "longrope": RopeKind.LONGROPE,
}


def read_config(file: GgufFile) -> ModelConfig:
    """The decoder's shape. Raises ModelFileError for another architecture or missing metadata."""
    architecture = Fields(file.path, file.metadata).text("general.architecture")
    if architecture not in ARCHITECTURES:
        raise ModelFileError(
            file.path, f"architecture {architecture!r} is not supported; supported are {', '.join(ARCHITECTURES)}"
        )
    if Fields(file.path, file.metadata).integer("split.count", 1) > 1:
        raise ModelFileError(file.path, "is one part of a split model; join the parts with llama-gguf-split --merge")
    fields = Fields(file.path, file.metadata, prefix=f"{architecture}.")
    if fields.integer("expert_count", 0):
        raise ModelFileError(file.path, "mixtures of experts are not supported")
    num_heads = fields.integer("attention.head_count", least=1)
    hidden_size = fields.integer("embedding_length", least=1)
    head_dim = fields.integer("attention.key_length", hidden_size // num_heads, least=1)
    rope_dim = fields.integer("rope.dimension_count", head_dim, least=1)
    scaling = _rope_scaling(file, fields)
    return ModelConfig(
        architecture=architecture,
        vocab_size=_vocab_size(file),
        hidden_size=hidden_size,
        intermediate_size=fields.integer("feed_forward_length", least=1),
        num_layers=fields.integer("block_count", least=1),
        num_heads=num_heads,
        num_kv_heads=fields.integer("attention.head_count_kv", num_heads, least=1),
        head_dim=head_dim,
        context_length=stretched_context(fields.integer("context_length", least=1), scaling),
        rms_norm_eps=fields.number("attention.layer_norm_rms_epsilon"),
        rope_theta=fields.number("rope.freq_base", 10000.0),
        rope_scaling=scaling,
        rope_dim=0 if rope_dim == head_dim else rope_dim,
        tie_embeddings="output.weight" not in file.tensors,
        qkv_bias="blk.0.attn_q.bias" in file.tensors,
        o_bias="blk.0.attn_output.bias" in file.tensors,
        mlp_bias="blk.0.ffn_down.bias" in file.tensors,
        sliding_window=fields.integer("attention.sliding_window", 0),
    )


def _vocab_size(file: GgufFile) -> int:
    """The embedding's rows: the metadata's figure is optional, and tokens may be fewer than rows."""
    if "token_embd.weight" not in file.tensors:
        raise ModelFileError(file.path, "tensor token_embd.weight is missing; the file holds no language model")
    return file.tensors["token_embd.weight"].shape[0]


def _rope_scaling(file: GgufFile, fields: Fields) -> RopeScaling:
    kind = _rope_kind(file, fields)
    defaults = RopeScaling()
    if kind is RopeKind.DEFAULT:
        return defaults
    context_length = fields.integer("context_length", least=1)
    original = fields.integer("rope.scaling.original_context_length", context_length, least=1)
    implied_factor = context_length / original if kind is RopeKind.LONGROPE else None
    factor = fields.number("rope.scaling.factor", implied_factor)
    return RopeScaling(
        kind=kind,
        factor=factor,
        original_context=original,
        attention_factor=_attention_factor(fields, kind, factor),
        beta_fast=fields.number("rope.scaling.yarn_beta_fast", defaults.beta_fast),
        beta_slow=fields.number("rope.scaling.yarn_beta_slow", defaults.beta_slow),
        short_factor=_vector(file, "rope_factors_short.weight"),
        long_factor=_vector(file, "rope_factors_long.weight"),
    )


def _rope_kind(file: GgufFile, fields: Fields) -> RopeKind:
    implied = "longrope" if "rope_factors_long.weight" in file.tensors else "none"
    name = fields.text("rope.scaling.type", implied)
    if name not in _ROPE_KINDS:
        raise fields.wrong("rope.scaling.type", f"one of {', '.join(_ROPE_KINDS)}")
    return _ROPE_KINDS[name]


def _attention_factor(fields: Fields, kind: RopeKind, factor: float) -> float | None:
    """GGUF's figure comes on top of YaRN's own, where Hugging Face's is the product of both."""
    if not fields.has("rope.scaling.attn_factor"):
        return None
    stated = fields.number("rope.scaling.attn_factor")
    return stated * yarn_magnitude(factor) if kind is RopeKind.YARN else stated


def _vector(file: GgufFile, name: str) -> tuple[float, ...]:
    tensor = file.tensors.get(name)
    if tensor is None:
        return ()
    return tuple(dequantise(file.rows(tensor), tensor.kind).tolist())

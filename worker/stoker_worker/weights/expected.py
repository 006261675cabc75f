"""Which tensors a decoder consists of, and the check that a model file holds just those."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from stoker_worker.errors import ModelFileError
from stoker_worker.models.config import ModelConfig

Shape = tuple[int, ...]

# The divisors of rotary frequencies that GGUF files of Llama 3.1 and later carry: [rope_dim / 2].
ROPE_FREQS = "rope_freqs"


def expected_tensors(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    """Every tensor that `config` asks for, by its Hugging Face name."""
    yield "model.embed_tokens.weight", (config.vocab_size, config.hidden_size)
    for layer in range(config.num_layers):
        for name, shape in _layer_tensors(config):
            yield f"model.layers.{layer}.{name}", shape
    yield "model.norm.weight", (config.hidden_size,)
    if not config.tie_embeddings:
        yield "lm_head.weight", (config.vocab_size, config.hidden_size)


def check_tensors(path: Path, config: ModelConfig, shapes: Mapping[str, Shape]) -> None:
    """Raise ModelFileError unless `shapes` has each expected tensor in its shape, and nothing else that matters."""
    _check_heads(path, config)
    expected = set()
    for name, shape in expected_tensors(config):  # ends at the first that is missing, however many layers are claimed
        if name not in shapes:
            raise ModelFileError(path, f"tensor {name} is missing; the file is incomplete or its configuration wrong")
        _check_shape(path, name, shapes[name], shape)
        expected.add(name)
    if ROPE_FREQS in shapes:
        _check_shape(path, ROPE_FREQS, shapes[ROPE_FREQS], ((config.rope_dim or config.head_dim) // 2,))
    for name in shapes:
        if name not in expected and not _harmless(name):
            raise ModelFileError(
                path, f"tensor {name} belongs to no {config.architecture} model that is supported; it would be ignored"
            )


def _check_shape(path: Path, name: str, found: Shape, expected: Shape) -> None:
    if found != expected:
        raise ModelFileError(path, f"tensor {name} has shape {list(found)}; the configuration says {list(expected)}")


def _check_heads(path: Path, config: ModelConfig) -> None:
    if config.num_heads % config.num_kv_heads or config.head_dim % 2:
        raise ModelFileError(
            path,
            f"{config.num_heads} heads of {config.head_dim} do not go with {config.num_kv_heads} KV heads; "
            "heads must be a multiple of KV heads, and of an even size",
        )
    if config.rope_dim % 2 or not 0 <= config.rope_dim <= config.head_dim:
        raise ModelFileError(path, f"{config.rope_dim} of a head's {config.head_dim} dimensions cannot rotate")


def _layer_tensors(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    hidden, inner = config.hidden_size, config.intermediate_size
    q_rows, kv_rows = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    linears = (
        ("self_attn.q_proj", (q_rows, hidden), config.qkv_bias),
        ("self_attn.k_proj", (kv_rows, hidden), config.qkv_bias),
        ("self_attn.v_proj", (kv_rows, hidden), config.qkv_bias),
        ("self_attn.o_proj", (hidden, q_rows), config.o_bias),
        ("mlp.gate_proj", (inner, hidden), config.mlp_bias),
        ("mlp.up_proj", (inner, hidden), config.mlp_bias),
        ("mlp.down_proj", (hidden, inner), config.mlp_bias),
    )
    yield "input_layernorm.weight", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    for name, shape, bias in linears:
        yield f"{name}.weight", shape
        if bias:
            yield f"{name}.bias", shape[:1]


def _harmless(name: str) -> bool:
    """A separate copy of a tied head, rotary tables that are computed anyway, and divisors that the model asks for itself."""
    return name in ("lm_head.weight", ROPE_FREQS) or name.endswith(".rotary_emb.inv_freq")

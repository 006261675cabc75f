"""What a decoder looks like, whichever file format said so."""

from dataclasses import dataclass, field
from enum import StrEnum

# Architectures that ModelConfig describes, by the names that files give them.
LLAMA_FAMILY = ("llama", "mistral", "qwen2")


class RopeKind(StrEnum):
    """How rotary frequencies are stretched beyond the trained context."""

    DEFAULT = "default"
    LINEAR = "linear"
    DYNAMIC = "dynamic"
    YARN = "yarn"
    LLAMA3 = "llama3"
    LONGROPE = "longrope"


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Parameters of the rotary embedding's scaling; those that a kind does not use keep their defaults.

    Names follow Hugging Face's `rope_parameters`. GGUF files of Llama 3.1+ carry ready-made divisors instead, as a tensor (see
    `weights.expected.ROPE_FREQS`).
    """

    kind: RopeKind = RopeKind.DEFAULT
    factor: float = 1.0
    original_context: int = 0
    attention_factor: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 0.0
    mscale_all_dim: float = 0.0
    truncate: bool = True
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A decoder of the Llama family: Llama 2/3.x, SmolLM2, Mistral, Qwen2.5 and their like.

    head_dim       of queries, keys and values
    rope_dim       leading dimensions of a head that rotate; equal to head_dim unless partial
    qkv_bias       Qwen2 has one, o_proj has none
    sliding_window tokens that a query sees, itself included; 0: all
    """

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    rms_norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling = field(default_factory=RopeScaling)
    rope_dim: int = 0  # 0: head_dim
    tie_embeddings: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int = 0
    hidden_act: str = "silu"

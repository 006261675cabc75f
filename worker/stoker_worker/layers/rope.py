"""Rotary position embeddings (arXiv 2104.09864) and how their frequencies are stretched to longer contexts.

A head's first `rope_dim` dimensions rotate in pairs (i, i + rope_dim/2), as Hugging Face lays them out.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stoker_worker.models.config import ModelConfig, RopeKind, RopeScaling


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotations of one step's T tokens.

    cos, sin  [T, 1, rope_dim]; the first half of `sin` is negated, since it multiplies the second half of each head
    """

    cos: Tensor
    sin: Tensor

    def apply(self, heads: Tensor) -> Tensor:
        """Rotate queries or keys: [T, H, head_dim] → the same, freshly allocated."""
        rope_dim = self.cos.shape[-1]
        if rope_dim == heads.shape[-1]:
            return self._rotate(heads)
        return torch.cat((self._rotate(heads[..., :rope_dim]), heads[..., rope_dim:]), dim=-1)

    def _rotate(self, heads: Tensor) -> Tensor:
        swapped = heads.roll(heads.shape[-1] // 2, -1)
        return torch.addcmul(heads * self.cos, swapped, self.sin)


class RotaryEmbedding:
    """Positions to rotations. Computed once a step for all layers: a table of a 128k context would take as much as a layer.

    divisors  [rope_dim / 2] fp32, ready-made divisors of the frequencies, or None
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, divisors: Tensor | None = None) -> None:
        frequencies = rope_frequencies(config)
        self._frequencies = frequencies if divisors is None else frequencies / divisors
        self._magnitude = rope_magnitude(config)
        self._dtype = dtype

    def __call__(self, positions: Tensor) -> Rotation:
        """[T] int32 → the tokens' rotations."""
        angles = positions[:, None].float() * self._frequencies
        cos, sin = angles.cos().mul_(self._magnitude), angles.sin().mul_(self._magnitude)
        return Rotation(
            cos=torch.cat((cos, cos), dim=-1)[:, None].to(self._dtype),
            sin=torch.cat((-sin, sin), dim=-1)[:, None].to(self._dtype),
        )


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Radians per position of each pair of dimensions: [rope_dim / 2] fp32.

    Where a scaling depends on the text's length (dynamic NTK, LongRoPE), it is that of the model's whole context: keys stay in the
    cache while a text grows, so all of them must be rotated alike.
    """
    scaling = config.rope_scaling
    plain = _frequencies(config.rope_theta, config)
    match scaling.kind:
        case RopeKind.DEFAULT:
            return plain
        case RopeKind.LINEAR:
            return plain / scaling.factor
        case RopeKind.DYNAMIC:
            return _frequencies(_ntk_base(config), config)
        case RopeKind.YARN:
            return _yarn(plain, config)
        case RopeKind.LLAMA3:
            return _llama3(plain, scaling)
        case RopeKind.LONGROPE:
            is_long = config.context_length > _trained_context(config)
            return plain / torch.tensor(scaling.long_factor if is_long else scaling.short_factor)


def rope_magnitude(config: ModelConfig) -> float:
    """What cosines and sines are multiplied by; YaRN and LongRoPE sharpen attention with it."""
    scaling = config.rope_scaling
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.factor <= 1:
        return 1.0
    match scaling.kind:
        case RopeKind.YARN if scaling.mscale and scaling.mscale_all_dim:
            return _yarn_magnitude(scaling.factor, scaling.mscale) / _yarn_magnitude(
                scaling.factor, scaling.mscale_all_dim
            )
        case RopeKind.YARN:
            return _yarn_magnitude(scaling.factor, 1.0)
        case RopeKind.LONGROPE:
            return math.sqrt(1 + math.log(scaling.factor) / math.log(_trained_context(config)))
        case _:
            return 1.0


def _rope_dim(config: ModelConfig) -> int:
    return config.rope_dim or config.head_dim


def _trained_context(config: ModelConfig) -> int:
    return config.rope_scaling.original_context or config.context_length


def _frequencies(base: float, config: ModelConfig) -> Tensor:
    dim = _rope_dim(config)
    return 1.0 / base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)


def _ntk_base(config: ModelConfig) -> float:
    """Dynamic NTK's base for a text as long as the context; the plain one up to the trained context."""
    dim, factor = _rope_dim(config), config.rope_scaling.factor
    stretch = max(config.context_length / _trained_context(config), 1.0)
    return config.rope_theta * math.pow(factor * stretch - (factor - 1), dim / (dim - 2))


def _yarn(plain: Tensor, config: ModelConfig) -> Tensor:
    """YaRN (arXiv 2309.00071): interpolate pairs that turn slowly, keep those that turn fast, blend between."""
    scaling, dim = config.rope_scaling, _rope_dim(config)

    def pair_that_turns(times: float) -> float:
        context = _trained_context(config)
        return dim * math.log(context / (times * 2 * math.pi)) / (2 * math.log(config.rope_theta))

    low, high = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain / scaling.factor * ramp + plain * (1 - ramp)


def _yarn_magnitude(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Llama 3.1: long waves are slowed by the factor, short ones kept, and those between blended."""
    turns = scaling.original_context * plain / (2 * math.pi)  # over the trained context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    return torch.lerp(plain / scaling.factor, plain, kept.clamp(0, 1))

"""Rotary position embeddings (arXiv 2104.09864): angles of positions, and how they are stretched to longer contexts.

A head's first `rope_dim` dimensions rotate in pairs (i, i + rope_dim/2), as Hugging Face lays them out. All arithmetic is in float32.
"""

import math

import numpy as np
from numpy.typing import NDArray

from stoker_worker.models.config import ModelConfig, RopeKind, RopeScaling

Float32 = NDArray[np.float32]


class Rotary:
    """Positions to rotations. Computed once a step for all layers: a table of a 128k context would take as much as a layer.

    divisors  [rope_dim / 2] float32, ready-made divisors of the frequencies, or None
    """

    def __init__(self, config: ModelConfig, divisors: Float32 | None = None) -> None:
        frequencies = rope_frequencies(config)
        self._frequencies = frequencies if divisors is None else frequencies / divisors
        self._magnitude = np.float32(rope_magnitude(config))

    def __call__(self, positions: NDArray[np.int32]) -> tuple[Float32, Float32]:
        """Cosines and sines of the tokens at `positions` [T]: [T, rope_dim / 2] each."""
        angles = positions[:, None].astype(np.float32) * self._frequencies
        return np.cos(angles) * self._magnitude, np.sin(angles) * self._magnitude


def rope_frequencies(config: ModelConfig) -> Float32:
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
            factors: Float32 = np.array(scaling.long_factor if is_long else scaling.short_factor, np.float32)
            return plain / factors


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


def _frequencies(base: float, config: ModelConfig) -> Float32:
    dim = _rope_dim(config)
    return np.float32(1) / np.float32(base) ** (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim))


def _ntk_base(config: ModelConfig) -> float:
    """Dynamic NTK's base for a text as long as the context; the plain one up to the trained context."""
    dim, factor = _rope_dim(config), config.rope_scaling.factor
    stretch = max(config.context_length / _trained_context(config), 1.0)
    return config.rope_theta * math.pow(factor * stretch - (factor - 1), dim / (dim - 2))


def _yarn(plain: Float32, config: ModelConfig) -> Float32:
    """YaRN (arXiv 2309.00071): interpolate pairs that turn slowly, keep those that turn fast, blend between."""
    scaling, dim = config.rope_scaling, _rope_dim(config)

    def pair_that_turns(times: float) -> float:
        context = _trained_context(config)
        return dim * math.log(context / (times * 2 * math.pi)) / (2 * math.log(config.rope_theta))

    low, high = pair_that_turns(scaling.beta_fast), pair_that_turns(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp: Float32 = ((np.arange(dim // 2, dtype=np.float32) - low) / max(high - low, 0.001)).clip(0, 1)
    return plain / scaling.factor * ramp + plain * (1 - ramp)


def _yarn_magnitude(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0


def _llama3(plain: Float32, scaling: RopeScaling) -> Float32:
    """Llama 3.1: long waves are slowed by the factor, short ones kept, and those between blended."""
    turns = scaling.original_context * plain / (2 * math.pi)  # over the trained context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    slowed = plain / scaling.factor
    blended: Float32 = slowed + kept.clip(0, 1) * (plain - slowed)
    return blended

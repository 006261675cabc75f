"""Rotary position embeddings (arXiv 2104.09864): a head's first `rope_dim` dimensions rotate in pairs (i, i + rope_dim/2)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from stoker_worker.models.config import ModelConfig
from stoker_worker.models.rotary import Rotary


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
    """Positions to rotations, once a step for all layers.

    divisors  [rope_dim / 2] fp32, ready-made divisors of the frequencies, or None
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, divisors: Tensor | None = None) -> None:
        self._rotary = Rotary(config, None if divisors is None else divisors.numpy())
        self._dtype = dtype

    def __call__(self, positions: Tensor) -> Rotation:
        """[T] int32 → the tokens' rotations."""
        cos, sin = map(torch.from_numpy, self._rotary(positions.numpy()))
        return Rotation(
            cos=torch.cat((cos, cos), dim=-1)[:, None].to(self._dtype),
            sin=torch.cat((-sin, sin), dim=-1)[:, None].to(self._dtype),
        )

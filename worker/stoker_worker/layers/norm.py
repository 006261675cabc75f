"""Root-mean-square normalisation (arXiv 1910.07467)."""

import math

import torch
from torch import Tensor

from stoker_worker.layers.loading import WeightLoader


class RMSNorm:
    """x / √(mean(x²) + ε) · weight, in fp32 whatever the type of x.

    Computed as x / hypot(‖x‖, √(nε)) · √n·weight: half the passes over x of the textbook form, and of F.rms_norm on CPUs.
    """

    def __init__(self, loader: WeightLoader, name: str, eps: float) -> None:
        weight = loader.whole(f"{name}.weight").float()
        self._scaled_weight = weight * math.sqrt(len(weight))
        self._floor = torch.tensor(math.sqrt(len(weight) * eps))

    def __call__(self, x: Tensor) -> Tensor:
        """[T, hidden] → [T, hidden], freshly allocated."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return (x / torch.hypot(length, self._floor)).mul_(self._scaled_weight).to(x.dtype)

    def add(self, residual: Tensor, delta: Tensor) -> Tensor:
        """Add `delta` to `residual` in place and return the sum normalised."""
        return self(residual.add_(delta))

"""The feed-forward half of a decoder layer."""

from torch import Tensor
from torch.nn.functional import silu

from stoker_worker.layers.linear import ColumnParallelLinear, RowParallelLinear
from stoker_worker.layers.loading import WeightLoader


class SwiGLU:
    """down(silu(gate(x)) · up(x)) (arXiv 2002.05202)."""

    def __init__(self, loader: WeightLoader, name: str, *, bias: bool) -> None:
        self._gate_up = ColumnParallelLinear(loader, f"{name}.gate_proj", f"{name}.up_proj", bias=bias)
        self._down = RowParallelLinear(loader, f"{name}.down_proj", bias=bias)

    def __call__(self, x: Tensor) -> Tensor:
        """[T, hidden] → [T, hidden], freshly allocated."""
        gate, up = self._gate_up(x).chunk(2, dim=-1)
        return self._down(silu(gate).mul_(up))

"""Linear layers, divided over a tensor-parallel group by columns or by rows of xWᵀ's weight (Megatron-LM, arXiv 1909.08053)."""

from torch import Tensor

from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.matmul import prepare


class ColumnParallelLinear:
    """Every rank computes a share of the outputs from the whole input.

    Several names merge projections of one input (q, k, v; gate and up): their outputs stand side by side, each rank's share of each.
    """

    def __init__(self, loader: WeightLoader, *names: str, bias: bool = False) -> None:
        weight = loader.rows(*(f"{name}.weight" for name in names))
        self._matmul = prepare(weight, loader.rows(*(f"{name}.bias" for name in names)) if bias else None)

    def __call__(self, x: Tensor) -> Tensor:
        """[T, in] → [T, this rank's outputs], freshly allocated."""
        return self._matmul(x)


class RowParallelLinear:
    """Every rank has a share of the inputs, as a column-parallel layer left them; the sum over ranks is the output."""

    def __init__(self, loader: WeightLoader, name: str, *, bias: bool = False) -> None:
        self._group = loader.group
        # One rank adds the bias, lest the sum contain it once per rank.
        adds_bias = bias and loader.group.rank == 0
        self._matmul = prepare(loader.columns(f"{name}.weight"), loader.whole(f"{name}.bias") if adds_bias else None)

    def __call__(self, x: Tensor) -> Tensor:
        """[T, this rank's inputs] → [T, out], equal on all ranks, freshly allocated."""
        return self._group.all_reduce(self._matmul(x))

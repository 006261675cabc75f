"""Which kernel multiplies activations by a weight matrix."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

Matmul = Callable[[Tensor], Tensor]


def prepare(weight: Tensor, bias: Tensor | None = None, *, keep_layout: bool = False) -> Matmul:
    """A function x [M, in] → x · weightᵀ + bias [M, out].

    weight       [out, in]; it may be packed into another layout: drop other references to it
    keep_layout  `weight` has other users, too, so it stays as it is
    """
    if _onednn_serves(weight):
        return _onednn(weight, bias, keep_layout=keep_layout)
    return lambda x: linear(x, weight, bias)


def _onednn_serves(weight: Tensor) -> bool:
    built_in = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return built_in and weight.device.type == "cpu" and weight.dtype is torch.float32


def _onednn(weight: Tensor, bias: Tensor | None, *, keep_layout: bool) -> Matmul:
    """The inner product of oneDNN.

    F.linear takes MKL's sgemm instead, which repacks the weight in every call: for 2 to 64 rows it needs 1.5 to 3 times as
    long as oneDNN with a packed weight, and up to twice as long as oneDNN without.
    """
    # The operators that torch.compile emits for frozen weights; torch has no public name for them.
    pointwise = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001
    packed = weight if keep_layout else torch.ops.mkldnn._reorder_linear_weight(weight)  # noqa: SLF001

    def matmul(x: Tensor) -> Tensor:
        product: Tensor = pointwise(x, packed, bias, "none", [], "")
        return product

    return matmul

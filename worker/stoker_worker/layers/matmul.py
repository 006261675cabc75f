"""Which kernel multiplies activations by a weight matrix."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import linear

Matmul = Callable[[Tensor], Tensor]


def prepare(weight: Tensor, bias: Tensor | None = None) -> Matmul:
    """A function x [M, in] → x · weightᵀ + bias [M, out].

    weight  [out, in]; it may be packed into another layout: drop other references to it, unless it has other uses
    """
    if _onednn_serves(weight):
        return _onednn(weight, bias)
    return lambda x: linear(x, weight, bias)


def _onednn_serves(weight: Tensor) -> bool:
    built_in = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return built_in and weight.device.type == "cpu" and weight.dtype is torch.float32


def _onednn(weight: Tensor, bias: Tensor | None) -> Matmul:
    """The inner product of oneDNN.

    F.linear takes MKL's sgemm instead, which repacks the weight in every call: for 2 to 64 rows it needs 1.5 to 3 times as
    long as oneDNN with a packed weight.
    """
    # The operators that torch.compile emits for frozen weights; torch has no public name for them.
    pointwise = torch.ops.mkldnn._linear_pointwise.default  # noqa: SLF001
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)  # noqa: SLF001

    def matmul(x: Tensor) -> Tensor:
        product: Tensor = pointwise(x, packed, bias, "none", [], "")
        return product

    return matmul

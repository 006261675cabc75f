"""Every layer computes on two ranks what it computes on one: parallelism is a setting."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stoker_worker.errors import SettingsError
from stoker_worker.layers.embedding import ParallelHead, VocabParallelEmbedding
from stoker_worker.layers.linear import ColumnParallelLinear, RowParallelLinear
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.mlp import SwiGLU
from stoker_worker.layers.parallel import TensorParallelGroup

SHAPES = {
    "a__weight": (12, 16),
    "a__bias": (12,),
    "b__weight": (4, 16),
    "b__bias": (4,),
    "o__weight": (16, 16),
    "o__bias": (16,),
    "e__weight": (24, 16),
    "mlp__gate_proj__weight": (20, 16),
    "mlp__up_proj__weight": (20, 16),
    "mlp__down_proj__weight": (16, 20),
}


def column_then_row(loader: WeightLoader) -> torch.Tensor:
    """Outputs of a are dropped in favour of b's, as keys follow queries in a merged projection."""
    merged = ColumnParallelLinear(loader, "a", "b", bias=True)(torch.ones(3, 16))
    return loader.group.all_gather(merged[:, -4 // loader.group.size :])


def row(loader: WeightLoader) -> torch.Tensor:
    share = 16 // loader.group.size
    x = torch.arange(48.0).view(3, 16)[:, loader.group.rank * share :][:, :share]
    return RowParallelLinear(loader, "o", bias=True)(x)


def mlp(loader: WeightLoader) -> torch.Tensor:
    return SwiGLU(loader, "mlp", bias=False)(torch.ones(3, 16))


def embedding_and_tied_head(loader: WeightLoader) -> torch.Tensor:
    embedding = VocabParallelEmbedding(loader, "e")
    return ParallelHead(loader, "unused", tied_to=embedding)(embedding(torch.tensor([0, 11, 12, 23])))


def separate_head(loader: WeightLoader) -> torch.Tensor:
    return ParallelHead(loader, "e")(torch.ones(2, 16))


@pytest.mark.parametrize("layer", [column_then_row, row, mlp, embedding_and_tied_head, separate_head])
def test_two_ranks_compute_what_one_does(
    layer: Callable[[WeightLoader], torch.Tensor],
    weights: Callable[..., Any],
    loader: Callable[..., WeightLoader],
    ranks: Callable[..., list[torch.Tensor]],
) -> None:
    source = weights(**SHAPES)
    expected = layer(loader(source))
    for result in ranks(2, lambda group: layer(loader(source, group))):
        torch.testing.assert_close(result, expected)


def test_merged_projections_stand_side_by_side(
    weights: Callable[..., Any], loader: Callable[..., WeightLoader]
) -> None:
    source = weights(**SHAPES)
    x = torch.randn(5, 16)
    a, b = (torch.from_numpy(source.read(f"{name}.weight")) for name in "ab")
    bias = torch.cat([torch.from_numpy(source.read(f"{name}.bias")) for name in "ab"])
    result = ColumnParallelLinear(loader(source), "a", "b", bias=True)(x)
    torch.testing.assert_close(result, torch.cat((x @ a.T, x @ b.T), dim=1) + bias)


def test_what_cannot_be_divided_is_refused_by_name(
    weights: Callable[..., Any], loader: Callable[..., WeightLoader], ranks: Callable[..., list[torch.Tensor]]
) -> None:
    source = weights(**SHAPES)

    def build(group: TensorParallelGroup) -> torch.Tensor:
        ColumnParallelLinear(loader(source, group), "a")
        return torch.zeros(())

    with pytest.raises(
        SettingsError, match=r"12 rows of a.weight cannot be divided over 5 ranks; choose a divisor of 12"
    ):
        ranks(5, build)

"""Norms, products and rotations against their formulas."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from stoker_worker.layers.embedding import ParallelHead, VocabParallelEmbedding
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.matmul import prepare
from stoker_worker.layers.norm import RMSNorm
from stoker_worker.layers.rope import RotaryEmbedding
from stoker_worker.models.config import ModelConfig, RopeKind, RopeScaling
from stoker_worker.models.rotary import rope_frequencies


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_rms_norm_is_its_formula(
    scale: float, weights: Callable[..., Any], loader: Callable[..., WeightLoader]
) -> None:
    source = weights(norm__weight=(48,))
    x = torch.randn(7, 48) * scale
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * torch.from_numpy(source.read("norm.weight"))
    torch.testing.assert_close(RMSNorm(loader(source), "norm", 1e-5)(x), expected)


def test_rms_norm_of_zeros_is_zeros(weights: Callable[..., Any], loader: Callable[..., WeightLoader]) -> None:
    norm = RMSNorm(loader(weights(norm__weight=(48,))), "norm", 1e-5)
    assert torch.equal(norm(torch.zeros(2, 48)), torch.zeros(2, 48))


def test_rms_norm_adds_to_the_residual_stream_in_place(
    weights: Callable[..., Any], loader: Callable[..., WeightLoader]
) -> None:
    norm = RMSNorm(loader(weights(norm__weight=(48,))), "norm", 1e-5)
    residual, delta = torch.randn(3, 48), torch.randn(3, 48)
    total = residual + delta
    result = norm.add(residual, delta)
    assert torch.equal(residual, total)
    assert torch.equal(result, norm(total))


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("rows", [1, 2, 9, 70])
def test_products_are_the_same_by_every_kernel(
    rows: int, dtype: torch.dtype, tolerance: float, with_bias: bool
) -> None:
    weight, bias = torch.randn(40, 24).to(dtype), torch.randn(40).to(dtype)
    wide = torch.randn(rows, 48).to(dtype)
    x = wide[:, :24]  # as a share of a merged projection is
    expected = x.double() @ weight.double().T + (bias.double() if with_bias else 0)
    result = prepare(weight.clone(), bias if with_bias else None)(x)
    torch.testing.assert_close(result.double(), expected, atol=tolerance, rtol=tolerance)


def test_partial_rotation_leaves_the_rest_of_a_head_alone(config: Callable[..., ModelConfig]) -> None:
    rotation = RotaryEmbedding(config(rope_dim=4), torch.float32)(torch.tensor([0, 3]))
    heads = torch.randn(2, 3, 8)
    rotated = rotation.apply(heads)
    assert torch.equal(rotated[..., 4:], heads[..., 4:])
    assert torch.equal(rotated[0], heads[0])
    pairs = torch.complex(heads[1, :, :2], heads[1, :, 2:4])
    turned = pairs * torch.polar(torch.ones(2), 3 * torch.tensor([1.0, 10000**-0.5]))
    torch.testing.assert_close(rotated[1, :, :4], torch.cat((turned.real, turned.imag), dim=-1))


def test_ready_made_divisors_replace_the_scaling_they_were_made_from(config: Callable[..., ModelConfig]) -> None:
    scaling = RopeScaling(RopeKind.LLAMA3, factor=8.0, original_context=32)
    scaled, plain = config(rope_scaling=scaling), config()
    divisors = rope_frequencies(plain) / rope_frequencies(scaled)
    assert divisors.max() == pytest.approx(8.0)
    positions = torch.arange(50, dtype=torch.int32)
    by_kind = RotaryEmbedding(scaled, torch.float32)(positions)
    by_divisors = RotaryEmbedding(plain, torch.float32, torch.from_numpy(divisors))(positions)
    torch.testing.assert_close(by_divisors.cos, by_kind.cos)
    torch.testing.assert_close(by_divisors.sin, by_kind.sin)


def test_dynamic_ntk_changes_nothing_within_the_trained_context(config: Callable[..., ModelConfig]) -> None:
    stretched = config(rope_scaling=RopeScaling(RopeKind.DYNAMIC, factor=4.0, original_context=64))
    assert (rope_frequencies(stretched) == rope_frequencies(config())).all()


def test_positions_deep_in_a_long_context_keep_their_angle(config: Callable[..., ModelConfig]) -> None:
    position = 131071
    rotation = RotaryEmbedding(config(), torch.float32)(torch.tensor([position], dtype=torch.int32))
    assert rotation.cos[0, 0, 0].item() == pytest.approx(math.cos(position), abs=1e-5)


def test_a_tied_head_multiplies_by_the_embedding(
    weights: Callable[..., Any], loader: Callable[..., WeightLoader]
) -> None:
    embedding = VocabParallelEmbedding(loader(weights(e__weight=(24, 16))), "e")
    head = ParallelHead(loader(weights()), "lm_head", tied_to=embedding)
    hidden = torch.randn(3, 16)
    torch.testing.assert_close(head(hidden), hidden @ embedding.weight.T)

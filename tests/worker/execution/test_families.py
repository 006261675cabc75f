"""Every model family and kind of rotary scaling computes what transformers computes, however texts are cut into steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from stoker_worker.execution.device import Device
from stoker_worker.models.config import RopeKind, RopeScaling
from stoker_worker.weights.source import WeightSource

OpenDevice = Callable[[WeightSource], Device]
CONTEXT = 96
TRAINED = 32
PAIRS = 16  # enough that every scaling has some to keep, some to stretch and some to blend


@dataclass(frozen=True)
class Case:
    """The same decoder, described to us and to transformers."""

    family: str = "Llama"
    ours: dict[str, Any] = field(default_factory=dict)
    theirs: dict[str, Any] = field(default_factory=dict)


def rope(kind: str, context: int = CONTEXT, theirs: dict[str, Any] | None = None, **scaling: Any) -> Case:
    """A kind of scaling whose parameters have the same names on both sides, except the trained context."""
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in scaling.items()}
    return Case(
        ours={
            "context_length": context,
            "head_dim": 2 * PAIRS,
            "rope_theta": 1000.0,
            "rope_scaling": RopeScaling(RopeKind(kind), original_context=TRAINED, **scaling),
        },
        theirs={
            "rope_parameters": {
                "rope_type": kind,
                "rope_theta": 1000.0,
                "original_max_position_embeddings": TRAINED,
                **parameters,
            }
        }
        | (theirs or {}),
    )


FACTORS = {
    "short_factor": tuple(1 + pair / 40 for pair in range(PAIRS)),
    "long_factor": tuple(1 + pair / 4 for pair in range(PAIRS)),
}
CASES = {
    "llama": Case(),
    "llama with a tied head": Case(ours={"tie_embeddings": True}),
    "llama with biases": Case(
        ours={"qkv_bias": True, "o_bias": True, "mlp_bias": True}, theirs={"attention_bias": True, "mlp_bias": True}
    ),
    "a KV head per query head": Case(ours={"num_kv_heads": 6}),
    "one KV head": Case(ours={"num_kv_heads": 1}),
    "heads wider than the hidden size": Case(ours={"head_dim": 16}),
    "heads and layers of no round width": Case(ours={"hidden_size": 54, "intermediate_size": 75, "head_dim": 22}),
    "mistral with a window shorter than the text": Case("Mistral", ours={"sliding_window": 13}),
    "mistral with a window of a block": Case("Mistral", ours={"sliding_window": 16}),
    "mistral without a window": Case("Mistral"),
    "qwen2 with its biases": Case("Qwen2", ours={"qkv_bias": True, "tie_embeddings": True}),
    "linear scaling": rope("linear", factor=3.0),
    # transformers stretches for the text at hand from the declared context on, we for the whole context from the trained one on.
    "dynamic NTK": rope("dynamic", factor=2.0, theirs={"max_position_embeddings": TRAINED}),
    "YaRN": rope("yarn", factor=3.0),
    "YaRN with magnitudes": rope("yarn", factor=3.0, mscale=0.7, mscale_all_dim=0.9, truncate=False, beta_fast=8.0),
    "YaRN with an attention factor": rope("yarn", factor=3.0, attention_factor=1.3),
    "Llama 3.1": rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0),
    "LongRoPE": rope("longrope", factor=3.0, **FACTORS),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_logits_are_those_of_one_straight_pass_of_transformers(
    case: Case,
    open_device: OpenDevice,
    tiny: Callable[..., Any],
    reference: Callable[..., Any],
    run_mixed: Callable[..., list[np.ndarray]],
    texts: list[np.ndarray],
) -> None:
    if case.ours.get("rope_scaling", RopeScaling()).kind in (RopeKind.DYNAMIC, RopeKind.LONGROPE):
        texts = [
            text for text in texts if len(text) == CONTEXT
        ]  # transformers' frequencies depend on the text's length
    config = tiny(architecture=case.family.lower(), **case.ours)
    source, expected = reference(config, case.family, case.theirs)
    results = run_mixed(open_device(source), texts, block_size=16, seed=1)
    for text, result in zip(texts, results, strict=True):
        np.testing.assert_allclose(result, expected(text), atol=1e-4)


def test_longrope_within_the_trained_context_uses_its_short_factors(
    open_device: OpenDevice,
    tiny: Callable[..., Any],
    reference: Callable[..., Any],
    run_mixed: Callable[..., Any],
    texts: list[np.ndarray],
) -> None:
    case = rope("longrope", context=TRAINED, factor=3.0, **FACTORS)
    source, expected = reference(tiny(**case.ours), case.family, case.theirs)
    (result,) = run_mixed(open_device(source), texts[2:3], block_size=16, seed=1)
    np.testing.assert_allclose(result, expected(texts[2]), atol=1e-4)


@pytest.mark.parametrize("block_size", [32, 48, 128])
def test_block_size_changes_nothing(
    block_size: int,
    open_device: OpenDevice,
    tiny: Callable[..., Any],
    reference: Callable[..., Any],
    run_mixed: Callable[..., Any],
    texts: list[np.ndarray],
) -> None:
    source, expected = reference(tiny(), "Llama", {})
    results = run_mixed(open_device(source), texts, block_size, seed=2)
    for text, result in zip(texts, results, strict=True):
        np.testing.assert_allclose(result, expected(text), atol=1e-4)

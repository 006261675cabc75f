"""What only the native device promises: the same bits whatever is computed beside a token, on any number of threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stoker_worker.execution.native_device import NativeDevice, refusal
from stoker_worker.kernels.native.build import library_path
from stoker_worker.weights.open import open_model

BLOCK = 16


@pytest.fixture(scope="module")
def text() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 49152, 300)


@pytest.fixture(scope="module")
def straight(smollm2_gguf: Path, text: np.ndarray, part: Any, make_plan: Callable[..., Any]) -> np.ndarray:
    """Logits [300, vocab] of one pass over the text, on one thread."""
    device = NativeDevice(open_model(smollm2_gguf), library_path(), threads=1)
    device.allocate_kv(20, BLOCK)
    return device.execute(make_plan([part(text, 0, np.arange(19))], BLOCK)).copy()


def test_logits_do_not_depend_on_chunks_neighbours_or_threads(
    smollm2_gguf: Path, text: np.ndarray, straight: np.ndarray, run_mixed: Callable[..., list[np.ndarray]]
) -> None:
    device = NativeDevice(open_model(smollm2_gguf), library_path(), threads=3)
    neighbour = text[::-1].copy()
    result, _, short = run_mixed(device, [text, neighbour, text[:100]], BLOCK, seed=4)
    np.testing.assert_array_equal(result, straight)
    np.testing.assert_array_equal(short, straight[:100])


def test_a_block_that_held_a_nan_is_as_good_as_new(
    tiny: Callable[..., Any],
    reference: Callable[..., Any],
    texts: list[np.ndarray],
    part: Any,
    make_plan: Callable[..., Any],
) -> None:
    source, expected = reference(tiny(), "Llama", {})
    poison = source.read("model.embed_tokens.weight")
    poison[7] = np.nan
    source.tensors["model.embed_tokens.weight"] = poison
    device = NativeDevice(source, library_path(), threads=1)
    device.allocate_kv(2, BLOCK)
    spoilt = device.execute(make_plan([part(np.full(2 * BLOCK, 7), 0, np.array([1, 0]))], BLOCK))
    assert np.isnan(spoilt).all()
    text = texts[2][texts[2] != 7]
    result = device.execute(make_plan([part(text, 0, np.array([0, 1]))], BLOCK))
    np.testing.assert_allclose(result, expected(text), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "precision", "block_size", "reason"),
    [
        ({}, "auto", 16, ""),
        ({}, "fp32", 48, ""),
        ({}, "bf16", 16, "it computes in fp32, not in bf16"),
        ({}, "auto", 24, "its blocks hold a multiple of 16 tokens, not 24"),
        ({"architecture": "gemma3"}, "auto", 16, "it has no gemma3 with silu"),
        ({"hidden_act": "gelu"}, "auto", 16, "it has no llama with gelu"),
    ],
)
def test_it_says_what_it_cannot_serve(
    changes: dict[str, Any], precision: str, block_size: int, reason: str, tiny: Callable[..., Any]
) -> None:
    assert refusal(tiny(**changes), precision, block_size) == reason

"""What only the torch device does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stoker_worker.errors import SettingsError
from stoker_worker.execution.torch_device import TorchDevice

BLOCK = 16


@pytest.fixture
def source(tiny: Callable[..., Any], reference: Callable[..., Any]) -> Any:
    return reference(tiny(), "Llama", {})[0]


@pytest.mark.parametrize(("precision", "tolerance", "kv_bytes"), [("fp32", 1e-4, 384), ("bf16", 0.5, 192)])
def test_precision_decides_how_close_logits_are_and_how_large_kv_is(
    precision: str,
    tolerance: float,
    kv_bytes: int,
    tiny: Callable[..., Any],
    reference: Callable[..., Any],
    run_mixed: Callable[..., list[np.ndarray]],
    texts: list[np.ndarray],
) -> None:
    source, expected = reference(tiny(), "Llama", {})
    device = TorchDevice(source, precision)
    (result,) = run_mixed(device, texts[3:4], BLOCK, seed=0)
    assert (device.spec.precision, device.spec.kv_bytes_per_token) == (precision, kv_bytes)
    assert result.dtype == np.float32
    assert np.abs(result - expected(texts[3])).mean() < tolerance


def test_an_unknown_precision_is_refused(source: Any) -> None:
    with pytest.raises(SettingsError, match="precision 'int3' is not supported; choose one of auto, fp32, bf16"):
        TorchDevice(source, "int3")


@pytest.mark.parametrize("block_size", [1, 5])
def test_blocks_of_any_size_will_do(
    block_size: int,
    tiny: Callable[..., Any],
    reference: Callable[..., Any],
    run_mixed: Callable[..., Any],
    texts: list[np.ndarray],
) -> None:
    source, expected = reference(tiny(), "Llama", {})
    results = run_mixed(TorchDevice(source), texts, block_size, seed=2)
    for text, result in zip(texts, results, strict=True):
        np.testing.assert_allclose(result, expected(text), atol=1e-4)

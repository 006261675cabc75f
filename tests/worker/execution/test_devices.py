"""What the engine's loop may rely on, whichever device computes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stoker_worker.errors import OutOfMemory
from stoker_worker.execution.device import Device, DeviceSpec
from stoker_worker.weights.source import WeightSource

OpenDevice = Callable[[WeightSource], Device]
BLOCK = 16


@pytest.fixture
def source(tiny: Callable[..., Any], reference: Callable[..., Any]) -> Any:
    return reference(tiny(), "Llama", {})[0]


def test_the_device_describes_its_model(open_device: OpenDevice, source: Any) -> None:
    assert open_device(source).spec == DeviceSpec(71, 96, kv_bytes_per_token=2 * 3 * 2 * 8 * 4, precision="fp32")


def test_more_kv_than_the_machine_can_address_is_refused(open_device: OpenDevice, source: Any) -> None:
    with pytest.raises(OutOfMemory, match="GiB of KV do not fit: ask for fewer with --kv-tokens"):
        open_device(source).allocate_kv(1 << 50, BLOCK)


def test_logits_come_in_the_order_asked_for_and_for_no_other_token(
    open_device: OpenDevice, source: Any, part: Any, make_plan: Callable[..., Any], texts: list[np.ndarray]
) -> None:
    """Whatever order the device works in: here a long context, a chunk and a short context."""
    device = open_device(source)
    device.allocate_kv(8, BLOCK)
    parts = [
        part(texts[3], 0, np.array([6, 1, 4])),
        part(texts[2], 0, np.array([0, 7])),
        part(texts[0], 0, np.array([2])),
    ]
    all_rows = device.execute(make_plan(parts, BLOCK)).copy()
    last_rows = device.execute(make_plan(parts, BLOCK, all_logits=False))
    assert all_rows.shape == (40 + 23 + 1, 71)
    np.testing.assert_allclose(last_rows, all_rows[[39, 62, 63]], atol=1e-5)


def test_a_step_that_wants_no_logits_returns_none(
    open_device: OpenDevice, source: Any, part: Any, make_plan: Callable[..., Any], texts: list[np.ndarray]
) -> None:
    device = open_device(source)
    device.allocate_kv(3, BLOCK)
    first = replace(make_plan([part(texts[3][:20], 0, np.array([2, 0, 1]))], BLOCK), logits_rows=np.zeros(0, np.int32))
    assert device.execute(first).shape == (0, 71)
    rest = device.execute(make_plan([part(texts[3][20:], 20, np.array([2, 0, 1]))], BLOCK)).copy()
    whole = device.execute(make_plan([part(texts[3], 0, np.array([0, 1, 2]))], BLOCK))
    np.testing.assert_allclose(rest, whole[20:], atol=1e-4)

"""The seam between the engine's loop and whatever computes: torch today, native code or a GPU beside it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stoker_worker.errors import OutOfMemory
from stoker_worker.scheduling.plan import StepPlan

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What the loop must know of a loaded model.

    kv_bytes_per_token  over all layers, keys and values
    """

    vocab_size: int
    context_length: int
    kv_bytes_per_token: int
    precision: str

    def too_little_memory(self, kv_tokens: int) -> OutOfMemory:
        """What a device raises that has no room for so many tokens of KV."""
        needed = kv_tokens * self.kv_bytes_per_token
        return OutOfMemory(f"{needed / 2**30:.1f} GiB of KV do not fit: ask for fewer with --kv-tokens")


class Device(Protocol):
    """Holds weights and KV storage, runs steps. Only the engine's loop calls it, from one thread."""

    @property
    def spec(self) -> DeviceSpec:
        """The loaded model's figures."""
        ...

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """Make room for `num_blocks` KV blocks. Called once, before the first step. Raises OutOfMemory."""
        ...

    def execute(self, plan: StepPlan) -> Float32:
        """Run one step and return the logits of `plan.logits_rows`: [L, vocab] float32.

        The array is valid until the next call: the device owns its memory.
        """
        ...

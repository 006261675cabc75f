"""From a model file to this rank's tensors, one at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from stoker_worker.layers.parallel import TensorParallelGroup, share
from stoker_worker.weights.expected import ROPE_FREQS
from stoker_worker.weights.source import WeightSource


@dataclass(frozen=True, slots=True)
class WeightLoader:
    """What a layer needs to be built: where tensors come from, which share is ours, and in which type they stay.

    A layer reads its tensors once, in its constructor, so that never more than one matrix exists twice.
    """

    source: WeightSource
    group: TensorParallelGroup
    dtype: torch.dtype

    def whole(self, name: str) -> Tensor:
        """The tensor as every rank holds it. Raises KeyError, ModelFileError."""
        return torch.from_numpy(self.source.read(name)).to(self.dtype)

    def rows(self, *names: str) -> Tensor:
        """This rank's rows of each tensor, one tensor below the other: [sum of shares, in] or [sum of shares]."""
        parts = list(self._row_shares(names))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def columns(self, name: str) -> Tensor:
        """This rank's columns of a matrix: [out, share]."""
        columns = share(self.source.shape(name)[1], self.group, f"columns of {name}")
        start = self.group.rank * columns
        return self.whole(name)[:, start : start + columns].contiguous()

    def rope_divisors(self) -> Tensor | None:
        """Ready-made divisors of rotary frequencies, if the file has them: [rope_dim / 2] fp32."""
        return torch.from_numpy(self.source.read(ROPE_FREQS)) if ROPE_FREQS in self.source.names() else None

    def _row_shares(self, names: tuple[str, ...]) -> Iterator[Tensor]:
        for name in names:
            rows = share(self.source.shape(name)[0], self.group, f"rows of {name}")
            start = self.group.rank * rows
            part = slice(start, start + rows) if self.group.size > 1 else None
            yield torch.from_numpy(self.source.read(name, part)).to(self.dtype)

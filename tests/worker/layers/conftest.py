"""Weights in memory, and ranks as threads."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from stoker_core.text import TextBundle
from stoker_worker.layers.loading import WeightLoader
from stoker_worker.layers.parallel import SingleRank, TensorParallelGroup
from stoker_worker.models.config import ModelConfig


class Weights:
    """A WeightSource whose tensors are random and made when they are named with their shape."""

    path = Path("memory")
    revision = "0" * 12
    total_bytes = 0

    def __init__(self, config: ModelConfig, **shapes: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self.config = config
        self.tensors = {
            name.replace("__", "."): rng.standard_normal(shape, np.float32) for name, shape in shapes.items()
        }

    def names(self) -> Iterator[str]:
        return iter(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def read(self, name: str, rows: slice | None = None) -> np.ndarray:
        return self.tensors[name][rows or slice(None)].copy()

    def text(self) -> TextBundle:
        raise NotImplementedError


class ThreadRank:
    """One rank of a group whose ranks are threads of this process."""

    def __init__(self, rank: int, shared: list[torch.Tensor | None], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(shared)
        self._shared, self._barrier = shared, barrier

    def _exchange(self, part: torch.Tensor) -> list[torch.Tensor]:
        self._shared[self.rank] = part.clone()
        self._barrier.wait()
        parts = [shared for shared in self._shared if shared is not None]
        self._barrier.wait()
        return parts

    def all_reduce(self, partial: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._exchange(partial)).sum(0)

    def all_gather(self, part: torch.Tensor) -> torch.Tensor:
        return torch.cat(self._exchange(part), dim=-1)


def run_ranks(size: int, work: Callable[[TensorParallelGroup], torch.Tensor]) -> list[torch.Tensor]:
    """What `work` returns on each rank of a group of `size`."""
    shared: list[torch.Tensor | None] = [None] * size
    barrier = threading.Barrier(size, timeout=60)
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: work(ThreadRank(rank, shared, barrier)), range(size)))


@pytest.fixture(scope="session")
def ranks() -> Callable[..., list[torch.Tensor]]:
    return run_ranks


@pytest.fixture(scope="session")
def config() -> Callable[..., ModelConfig]:
    def make(**changes: object) -> ModelConfig:
        shape: dict[str, object] = {
            "architecture": "llama",
            "vocab_size": 24,
            "hidden_size": 16,
            "intermediate_size": 20,
            "num_layers": 2,
            "num_heads": 4,
            "num_kv_heads": 2,
            "head_dim": 8,
            "context_length": 64,
        }
        return ModelConfig(**shape | changes)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def weights(config: Callable[..., ModelConfig]) -> Callable[..., Weights]:
    return lambda **shapes: Weights(config(), **shapes)


@pytest.fixture(scope="session")
def loader() -> Callable[..., WeightLoader]:
    def make(
        source: Weights, group: TensorParallelGroup | None = None, dtype: torch.dtype = torch.float32
    ) -> WeightLoader:
        return WeightLoader(source, group or SingleRank(), dtype)

    return make

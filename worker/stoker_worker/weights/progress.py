"""A model file that says how far reading it has come."""

from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path

from stoker_core.text import TextBundle
from stoker_worker.models.config import ModelConfig
from stoker_worker.weights.source import Float32, WeightSource

FLOAT32_BYTES = 4


class ProgressSource:
    """A WeightSource around another.

    tell  called after each tensor with the bytes read so far and in all, counted as float32
    """

    def __init__(self, source: WeightSource, tell: Callable[[int, int], None]) -> None:
        self._source = source
        self._tell = tell
        self._total_bytes = sum(prod(source.shape(name)) for name in source.names()) * FLOAT32_BYTES
        self._done_bytes = 0

    @property
    def path(self) -> Path:
        """See WeightSource."""
        return self._source.path

    @property
    def config(self) -> ModelConfig:
        """See WeightSource."""
        return self._source.config

    @property
    def revision(self) -> str:
        """See WeightSource."""
        return self._source.revision

    @property
    def total_bytes(self) -> int:
        """See WeightSource."""
        return self._source.total_bytes

    def names(self) -> Iterator[str]:
        """See WeightSource."""
        return self._source.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """See WeightSource."""
        return self._source.shape(name)

    def read(self, name: str, rows: slice | None = None) -> Float32:
        """See WeightSource."""
        tensor = self._source.read(name, rows)
        self._done_bytes += tensor.nbytes
        self._tell(self._done_bytes, self._total_bytes)
        return tensor

    def text(self) -> TextBundle:
        """See WeightSource."""
        return self._source.text()

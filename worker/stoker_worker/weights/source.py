"""What a loaded model file offers: a configuration, named tensors, and the text side."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stoker_core.text import TextBundle
from stoker_worker.models.config import ModelConfig

Float32 = NDArray[np.float32]


class WeightSource(Protocol):
    """A GGUF file or a Hugging Face folder, opened. Tensor names are Hugging Face's (`model.layers.0.self_attn.q_proj.weight`)."""

    @property
    def path(self) -> Path:
        """What was opened."""
        ...

    @property
    def config(self) -> ModelConfig:
        """The decoder's shape."""
        ...

    @property
    def revision(self) -> str:
        """Names the content: 12 hex digits that change when the weights, configuration or text side do."""
        ...

    @property
    def total_bytes(self) -> int:
        """Bytes of weights in the files, for progress."""
        ...

    def names(self) -> Iterator[str]:
        """All tensor names, in file order."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """The tensor's shape in Hugging Face's orientation ([out, in] for a linear). Raises KeyError."""
        ...

    def read(self, name: str, rows: slice | None = None) -> Float32:
        """The tensor (or some of its rows) as float32, dequantised, freshly allocated. Raises KeyError, ModelFileError."""
        ...

    def text(self) -> TextBundle:
        """Tokenizer, chat templates, special tokens. Raises ModelFileError."""
        ...

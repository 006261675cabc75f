"""Weights from a GGUF file, under Hugging Face's names and in its row order."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stoker_core.text import TextBundle
from stoker_worker.weights.dequantise import dequantise
from stoker_worker.weights.expected import ROPE_FREQS, check_tensors
from stoker_worker.weights.fingerprint import data_samples, fingerprint
from stoker_worker.weights.gguf_config import read_config
from stoker_worker.weights.gguf_file import GgufFile, GgufTensor
from stoker_worker.weights.gguf_text import read_text
from stoker_worker.weights.source import Float32

_MODEL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
    "rope_freqs.weight": ROPE_FREQS,
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ROTATED = tuple(f"self_attn.{part}_proj.{kind}" for part in "qk" for kind in ("weight", "bias"))
_LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
# Part of the configuration, not of the weights.
_IN_CONFIG = ("rope_factors_long.weight", "rope_factors_short.weight")


class GgufSource:
    """A WeightSource over one GGUF file. Raises ModelFileError if the file is broken, incomplete or not supported.

    Divisors of rotary frequencies (Llama 3.1 and later) are offered as one more tensor, `rope_freqs`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = GgufFile(path)
        self.config = read_config(self._file)
        self._tensors = {
            _hugging_face_name(name): tensor for name, tensor in self._file.tensors.items() if name not in _IN_CONFIG
        }
        check_tensors(path, self.config, {name: tensor.shape for name, tensor in self._tensors.items()})

    @cached_property
    def revision(self) -> str:
        """See WeightSource."""
        file = self._file
        starts = (tensor.start for tensor in file.tensors.values())
        return fingerprint([file.data[: file.table_bytes].tobytes(), *data_samples(file.data, starts)])

    @property
    def total_bytes(self) -> int:
        """See WeightSource."""
        return sum(tensor.num_bytes for tensor in self._tensors.values())

    def names(self) -> Iterator[str]:
        """See WeightSource."""
        return iter(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """See WeightSource."""
        return self._tensors[name].shape

    def read(self, name: str, rows: slice | None = None) -> Float32:
        """See WeightSource."""
        tensor = self._tensors[name]
        if len(tensor.shape) == 1:
            return self._read_vector(name, tensor, rows)
        blocks = self._file.rows(tensor)
        if (order := self._row_order(name)) is not None:
            blocks = blocks[order[rows or slice(None)]]
        elif rows is not None:
            blocks = blocks[rows]
        return dequantise(blocks, tensor.kind).reshape(-1, *tensor.shape[1:])

    def text(self) -> TextBundle:
        """See WeightSource."""
        return read_text(self._file)

    def _read_vector(self, name: str, tensor: GgufTensor, rows: slice | None) -> Float32:
        values = dequantise(self._file.rows(tensor), tensor.kind)
        if (order := self._row_order(name)) is not None:
            values = values[order]
        return values if rows is None else values[rows].copy()

    def _row_order(self, name: str) -> NDArray[np.intp] | None:
        """Which row of the file is each row of the tensor; None: the same.

        llama.cpp rotates neighbouring pairs, Hugging Face the two halves of a head: for "llama" (and only there) the
        converter interleaves the halves' rows in q and k. Row (head, half, i) of ours is row (head, i, half) of the file.
        """
        if self.config.architecture != "llama" or not name.endswith(_ROTATED):
            return None
        num_rows = self._tensors[name].shape[0]
        return np.arange(num_rows).reshape(-1, self.config.head_dim // 2, 2).swapaxes(1, 2).reshape(-1)


def _hugging_face_name(name: str) -> str:
    """The name of a tensor of ours; a name that is none stays as it is, for the check to refuse."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return _MODEL_NAMES.get(name, name)
    layer, part, kind = match.groups()
    return f"model.layers.{layer}.{_LAYER_NAMES[part]}.{kind}" if part in _LAYER_NAMES else name

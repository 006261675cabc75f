"""The safetensors container: eight bytes of header length, a JSON header, raw data."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker_worker.errors import ModelFileError
from stoker_worker.weights.json_files import parse_json
from stoker_worker.weights.mapping import map_file
from stoker_worker.weights.source import Float32

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # the format's own limit

Bytes = NDArray[np.uint8]


def _bfloat16(data: Bytes) -> Float32:
    wide = data.view("<u2").astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


# dtype → bytes of an element, and a fresh float32 array from them.
_DTYPES: dict[str, tuple[int, Callable[[Bytes], Float32]]] = {
    "F64": (8, lambda data: data.view("<f8").astype(np.float32)),
    "F32": (4, lambda data: data.view("<f4").astype(np.float32)),
    "F16": (2, lambda data: data.view("<f2").astype(np.float32)),
    "BF16": (2, _bfloat16),
}


@dataclass(frozen=True, slots=True)
class SafeTensor:
    """An entry of the header. `start` and `end` count from the file's beginning."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsFile:
    """An opened file. Raises ModelFileError if it is missing, truncated, malformed or holds an unsupported dtype."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = map_file(path)
        self.header = _header_bytes(path, self.data)
        entries = parse_json(path, self.header)
        base = LENGTH_BYTES + len(self.header)
        self.tensors = {
            name: _entry(path, name, entry, base) for name, entry in entries.items() if name != "__metadata__"
        }
        for name, tensor in self.tensors.items():
            _check_entry(path, name, tensor, self.data.size)

    def read(self, name: str, rows: slice | None = None) -> Float32:
        """A tensor, or some of its rows, freshly allocated. Raises KeyError."""
        tensor = self.tensors[name]
        _, convert = _DTYPES[tensor.dtype]
        data = self.data[tensor.start : tensor.end]
        if rows is None:
            return convert(data).reshape(tensor.shape)
        picked = np.ascontiguousarray(data.reshape(tensor.shape[0], -1)[rows])
        return convert(picked.reshape(-1)).reshape(-1, *tensor.shape[1:])


def _header_bytes(path: Path, data: Bytes) -> bytes:
    length = int.from_bytes(data[:LENGTH_BYTES].tobytes(), "little")
    if data.size < LENGTH_BYTES or length > MAX_HEADER_BYTES:
        raise ModelFileError(path, "is not a safetensors file: it does not begin with the length of a header")
    if LENGTH_BYTES + length > data.size:
        raise ModelFileError(
            path,
            f"is truncated within its header, which ends at byte {LENGTH_BYTES + length:,} of {data.size:,}; "
            "download or copy it again",
        )
    return data[LENGTH_BYTES : LENGTH_BYTES + length].tobytes()


def _entry(path: Path, name: str, entry: Any, base: int) -> SafeTensor:
    try:
        start, end = entry["data_offsets"]
        return SafeTensor(str(entry["dtype"]), tuple(map(int, entry["shape"])), base + int(start), base + int(end))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(path, f"the header's entry for tensor {name} is malformed") from error


def _check_entry(path: Path, name: str, tensor: SafeTensor, file_bytes: int) -> None:
    if tensor.dtype not in _DTYPES:
        raise ModelFileError(
            path, f"tensor {name} has the unsupported dtype {tensor.dtype}; supported are {', '.join(_DTYPES)}"
        )
    item_bytes, _ = _DTYPES[tensor.dtype]
    if tensor.end - tensor.start != prod(tensor.shape) * item_bytes or tensor.start < 0:
        raise ModelFileError(path, f"tensor {name}: its offsets do not fit its shape {list(tensor.shape)}")
    if tensor.end > file_bytes:
        raise ModelFileError(
            path,
            f"is truncated: tensor {name} ends at byte {tensor.end:,}, the file has {file_bytes:,}; "
            "download or copy it again",
        )

"""The GGUF container: metadata, the tensor table, and each tensor's bytes in the mapped file.

The format is described in ggml's docs/gguf.md. The `gguf` package's own reader makes several numpy views per string, which
takes seconds for a vocabulary; this one reads the same table in a few hundredths.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType
from gguf.constants import GGML_QUANT_SIZES
from numpy.typing import NDArray

from stoker_worker.errors import ModelFileError
from stoker_worker.weights.dequantise import can_dequantise
from stoker_worker.weights.mapping import map_file

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_DIMS = 4

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SCALARS: dict[GGUFValueType, np.dtype[Any]] = {
    GGUFValueType.UINT8: np.dtype("<u1"),
    GGUFValueType.INT8: np.dtype("<i1"),
    GGUFValueType.UINT16: np.dtype("<u2"),
    GGUFValueType.INT16: np.dtype("<i2"),
    GGUFValueType.UINT32: np.dtype("<u4"),
    GGUFValueType.INT32: np.dtype("<i4"),
    GGUFValueType.UINT64: np.dtype("<u8"),
    GGUFValueType.INT64: np.dtype("<i8"),
    GGUFValueType.FLOAT32: np.dtype("<f4"),
    GGUFValueType.FLOAT64: np.dtype("<f8"),
    GGUFValueType.BOOL: np.dtype("?"),
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """An entry of the tensor table. `shape` is outermost first, [out, in] for a linear; `start` counts from the file's beginning."""

    name: str
    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    start: int
    num_bytes: int


class GgufFile:
    """An opened GGUF file. Raises ModelFileError for a file that is missing, truncated, or of a kind that is not supported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = map_file(path)
        cursor = _Cursor(path, self.data)
        num_tensors, num_values = _read_header(cursor)
        self.metadata: dict[str, Any] = _read_metadata(cursor, num_values)
        entries = [_read_entry(cursor) for _ in range(num_tensors)]
        self.table_bytes = cursor.position
        base = _aligned(path, cursor.position, self.metadata.get("general.alignment", DEFAULT_ALIGNMENT))
        self.tensors = {name: _locate(path, base, name, kind, dims, at) for name, kind, dims, at in entries}
        self._check_kinds()
        self._check_ends()

    def rows(self, tensor: GgufTensor) -> NDArray[np.uint8]:
        """The tensor's bytes in the file: [rows, bytes per row]; a vector is one row."""
        num_rows = prod(tensor.shape[:-1])
        return self.data[tensor.start : tensor.start + tensor.num_bytes].reshape(num_rows, -1)

    def _check_kinds(self) -> None:
        for kind in {tensor.kind for tensor in self.tensors.values()}:
            if not can_dequantise(kind):
                name = next(name for name, tensor in self.tensors.items() if tensor.kind is kind)
                raise _unsupported_kind(self.path, name, kind.name)

    def _check_ends(self) -> None:
        for name, tensor in self.tensors.items():
            end = tensor.start + tensor.num_bytes
            if end > self.data.size:
                raise ModelFileError(
                    self.path,
                    f"is truncated: tensor {name} ends at byte {end:,}, the file has {self.data.size:,}; "
                    "download or copy it again",
                )


class _Cursor:
    """Reads forward through the mapped file; running off its end raises ModelFileError."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path = path
        self.position = 0
        self._view = data.data

    def take(self, size: int) -> memoryview:
        start, self.position = self.position, self.position + size
        if self.position > len(self._view):
            raise ModelFileError(self.path, f"is truncated within its metadata, after {start:,} bytes; copy it again")
        return self._view[start : self.position]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def string(self) -> str:
        return str(self.take(self.u64()), "utf-8", "replace")

    def value(self, code: int) -> Any:
        """A metadata value of GGUF type `code` as plain Python."""
        if code == GGUFValueType.STRING:
            return self.string()
        if code == GGUFValueType.ARRAY:
            return self._array()
        return self._scalars(code, 1)[0]

    def _array(self) -> list[Any]:
        code, count = self.u32(), self.u64()
        if code == GGUFValueType.STRING:
            return self._strings(count)
        return self._scalars(code, count)

    def _strings(self, count: int) -> list[str]:
        """Vocabularies and merges are hundreds of thousands of these: one loop without a call per string."""
        view, end, strings = self._view, self.position, []
        try:
            for _ in range(count):
                start = end + _U64.size
                end = start + _U64.unpack_from(view, end)[0]
                strings.append(str(view[start:end], "utf-8", "replace"))
        except (struct.error, OverflowError):  # an offset beyond the view, or beyond any view
            end = len(view) + 1
        self.take(end - self.position)
        return strings

    def _scalars(self, code: int, count: int) -> list[Any]:
        try:
            dtype = _SCALARS[GGUFValueType(code)]
        except (ValueError, KeyError) as error:
            raise ModelFileError(self.path, f"metadata holds a value of unknown type {code}") from error
        values: list[Any] = np.frombuffer(self.take(count * dtype.itemsize), dtype).tolist()
        return values


_Entry = tuple[str, GGMLQuantizationType, tuple[int, ...], int]


def _read_header(cursor: _Cursor) -> tuple[int, int]:
    """The numbers of tensors and of metadata values."""
    magic = bytes(cursor.take(4))
    if magic != MAGIC:
        raise ModelFileError(cursor.path, f"is not a GGUF file: it begins with {magic!r}")
    version = cursor.u32()
    if version not in VERSIONS:
        raise ModelFileError(
            cursor.path, f"has GGUF version {version} or is big-endian; versions {VERSIONS} are read: convert it again"
        )
    return cursor.u64(), cursor.u64()


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.string()
        values[key] = cursor.value(cursor.u32())
    return values


def _read_entry(cursor: _Cursor) -> _Entry:
    name = cursor.string()
    num_dims = cursor.u32()
    if num_dims > MAX_DIMS:
        raise ModelFileError(cursor.path, f"tensor {name} has {num_dims} dimensions, at most {MAX_DIMS} are possible")
    dims = tuple(cursor.u64() for _ in range(num_dims))
    code = cursor.u32()
    try:
        kind = GGMLQuantizationType(code)
    except ValueError as error:
        raise _unsupported_kind(cursor.path, name, str(code)) from error
    return name, kind, dims[::-1], cursor.u64()


def _aligned(path: Path, position: int, alignment: Any) -> int:
    if not isinstance(alignment, int) or alignment <= 0:
        raise ModelFileError(path, f"general.alignment must be a positive number, it is {alignment!r}")
    return -(-position // alignment) * alignment


def _locate(
    path: Path, base: int, name: str, kind: GGMLQuantizationType, shape: tuple[int, ...], at: int
) -> GgufTensor:
    block_elements, block_bytes = GGML_QUANT_SIZES[kind]
    if not shape or not all(shape) or shape[-1] % block_elements:
        raise ModelFileError(path, f"tensor {name} of shape {list(shape)} does not divide into {kind.name} blocks")
    return GgufTensor(name, kind, shape, base + at, prod(shape) // block_elements * block_bytes)


def _unsupported_kind(path: Path, tensor: str, kind: str) -> ModelFileError:
    known = ", ".join(kind.name for kind in GGMLQuantizationType if can_dequantise(kind))
    return ModelFileError(path, f"tensor {tensor} has the unsupported type {kind}; supported are {known}")

"""The native library's functions and structures as Python sees them; `src/stoker_native.h` says what they mean."""

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_int32, c_int64, c_void_p
from enum import IntEnum, auto
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Shape(Structure):
    """StokerShape."""

    _fields_ = (
        *((name, c_int32) for name in ("vocab", "hidden", "inner", "layers", "heads", "kv_heads", "head_dim")),
        *((name, c_int32) for name in ("rope_dim", "window")),
        ("norm_eps", c_float),
    )


class Step(Structure):
    """StokerStep."""

    _fields_ = (
        *((name, c_int64) for name in ("tokens", "sequences", "logits")),
        *((name, c_void_p) for name in ("token_ids", "slots", "cos", "sin")),
        *((name, c_void_p) for name in ("query_starts", "context_lens", "block_tables")),
        ("table_width", c_int64),
        ("logits_rows", c_void_p),
    )


class Tensor(IntEnum):
    """StokerTensor."""

    EMBEDDING = 0
    HEAD = auto()
    FINAL_NORM = auto()
    ATTENTION_NORM = auto()
    MLP_NORM = auto()
    Q = auto()
    K = auto()
    V = auto()
    OUT = auto()
    GATE = auto()
    UP = auto()
    DOWN = auto()
    Q_BIAS = auto()
    K_BIAS = auto()
    V_BIAS = auto()
    OUT_BIAS = auto()
    GATE_BIAS = auto()
    UP_BIAS = auto()
    DOWN_BIAS = auto()


class NativeDecoder:
    """Owns a StokerDecoder. Its methods raise MemoryError; calls drop the GIL."""

    def __init__(self, library: Path, shape: Shape, threads: int) -> None:
        self._library = load(library)
        self._decoder = self._library.stoker_create(ctypes.byref(shape), threads)
        if not self._decoder:
            raise MemoryError

    def set_tensor(self, tensor: Tensor, layer: int, values: NDArray[np.float32]) -> None:
        """Copy a weight, [outputs, inputs] or [size], into the decoder's own layout. `layer` is ignored where there is none."""
        contiguous = np.ascontiguousarray(values, np.float32)
        _check(self._library.stoker_set_tensor(self._decoder, tensor, layer, contiguous.ctypes.data))

    def allocate_kv(self, num_blocks: int, block_size: int) -> None:
        """Make room for keys and values, zeroed; `block_size` is a multiple of 16."""
        _check(self._library.stoker_allocate_kv(self._decoder, num_blocks, block_size))

    @property
    def logits_stride(self) -> int:
        """Floats between rows of logits."""
        return int(self._library.stoker_logits_stride(self._decoder))

    def run(self, step: Step, logits: NDArray[np.float32]) -> None:
        """Run one step; `logits` has room for [step.logits, logits_stride]."""
        _check(self._library.stoker_run(self._decoder, ctypes.byref(step), logits.ctypes.data))

    def __del__(self) -> None:
        if getattr(self, "_decoder", None):
            self._library.stoker_destroy(self._decoder)


def load(path: Path) -> ctypes.CDLL:
    """Open the library and declare its functions."""
    library = ctypes.CDLL(str(path))
    signatures: dict[str, tuple[object, tuple[object, ...]]] = {
        "stoker_create": (c_void_p, (POINTER(Shape), c_int32)),
        "stoker_set_tensor": (c_int, (c_void_p, c_int32, c_int32, c_void_p)),
        "stoker_allocate_kv": (c_int, (c_void_p, c_int64, c_int64)),
        "stoker_run": (c_int, (c_void_p, POINTER(Step), c_void_p)),
        "stoker_destroy": (None, (c_void_p,)),
        "stoker_logits_stride": (c_int64, (c_void_p,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _check(failed: int) -> None:
    if failed:
        raise MemoryError

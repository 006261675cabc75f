"""GGUF's quantised blocks to float32, in slabs so that temporaries stay small."""

import numpy as np
from gguf import GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize
from numpy.typing import NDArray

# Elements at a time: 512 KiB of float32, which stays in a core's cache. Smaller slabs pay per numpy call.
SLAB = 131_072


def can_dequantise(kind: GGMLQuantizationType) -> bool:
    """Whether `dequantise` knows this kind of block."""
    _, block_bytes = GGML_QUANT_SIZES[kind]
    try:
        dequantize(np.zeros((1, block_bytes), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def dequantise(blocks: NDArray[np.uint8], kind: GGMLQuantizationType) -> NDArray[np.float32]:
    """The values of whole blocks.

    blocks   bytes of any shape, read in C order; their number is a multiple of the block's
    returns  [elements] float32, freshly allocated
    """
    block_elements, block_bytes = GGML_QUANT_SIZES[kind]
    flat = np.ascontiguousarray(blocks).reshape(-1)
    values = np.empty(flat.size // block_bytes * block_elements, np.float32)
    step = SLAB // block_elements
    for first in range(0, flat.size // block_bytes, step):
        slab = flat[first * block_bytes : (first + step) * block_bytes]
        values[first * block_elements : (first + step) * block_elements] = dequantize(slab[None], kind)[0]
    return values

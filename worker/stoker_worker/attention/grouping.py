"""Divides a step's sequences into pieces that are attended in one go."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker_worker.attention.base import AttentionMetadata

# A group of decodes is gathered into scratch memory: enough to keep the kernels busy, little enough to be read back from cache.
GROUP_TOKENS = 2048
# A group's shorter sequences are padded to its longest. Up to this share of blocks is cheaper than another group's overhead.
PADDING_SHARE = 0.2
PADDING_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class Rows:
    """Sequences [first, last) of a step, all with `num_queries` queries from token `start` on.

    first_key     [n] the first token that is gathered of each sequence, at a block's start
    num_keys      [n] how many are gathered, up to the context's end
    block_tables  [n, max_blocks] int64 from `first_key` on, shorter ones padded with a block of their own
    """

    start: int
    num_queries: int
    first_key: NDArray[np.int64]
    num_keys: NDArray[np.int64]
    block_tables: NDArray[np.int64]


def divide(metadata: AttentionMetadata, window: int) -> Iterator[Rows]:
    """Pieces in order: runs of sequences with one query and contexts of like length, and every other sequence alone.

    Keys that no query of a sequence sees for the `window` (0: none) are left out.
    """
    num_queries = np.diff(metadata.query_starts).astype(np.int64)
    contexts = metadata.context_lens.astype(np.int64)
    first_block = np.zeros_like(contexts)
    if window:
        first_block = np.maximum(contexts - num_queries - window + 1, 0) // metadata.block_size
    num_blocks = -(-contexts // metadata.block_size) - first_block
    for first, last in _runs(num_queries.tolist(), num_blocks.tolist(), GROUP_TOKENS // metadata.block_size):
        first_key = first_block[first:last] * metadata.block_size
        yield Rows(
            start=int(metadata.query_starts[first]),
            num_queries=int(num_queries[first]),
            first_key=first_key,
            num_keys=contexts[first:last] - first_key,
            block_tables=_padded_tables(
                metadata.block_tables[first:last], first_block[first:last], num_blocks[first:last]
            ),
        )


def _runs(num_queries: list[int], num_blocks: list[int], group_blocks: int) -> Iterator[tuple[int, int]]:
    first, longest, used = 0, 0, 0
    for index, (queries, blocks) in enumerate(zip(num_queries, num_blocks, strict=True)):
        rows = index - first + 1
        area = max(longest, blocks) * rows
        padding = area - used - blocks
        fits = area <= group_blocks and padding <= PADDING_BLOCKS + PADDING_SHARE * (used + blocks)
        if index > first and not (queries == num_queries[first] == 1 and fits):
            yield first, index
            first, longest, used = index, 0, 0
        longest, used = max(longest, blocks), used + blocks
    if num_queries:
        yield first, len(num_queries)


def _padded_tables(
    tables: NDArray[np.int32], first_block: NDArray[np.int64], num_blocks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Each row's blocks from its first on; past its end its last block again, so that no row reads another's."""
    offsets = np.minimum(np.arange(num_blocks.max()), num_blocks[:, None] - 1)
    return np.take_along_axis(tables, first_block[:, None] + offsets, axis=1).astype(np.int64)

"""Names for content: a digest over what identifies a model, cheap enough for files of many gigabytes."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

REVISION_BYTES = 6
SAMPLE_BYTES = 4096
SAMPLES = 64  # per file


def fingerprint(parts: Iterable[bytes]) -> str:
    """12 hex digits over `parts`; neither their order nor the borders between them may move."""
    digest = blake2b(digest_size=REVISION_BYTES, person=b"stoker-revision")
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def data_samples(data: NDArray[np.uint8]) -> Iterator[bytes]:
    """The size of `data` and SAMPLES blocks spread evenly over it, its beginning and end among them.

    Training touches every tensor, so blocks from all over the file tell versions apart without reading it whole.
    """
    yield data.size.to_bytes(8, "little")
    last = max(data.size - SAMPLE_BYTES, 0)
    for index in range(SAMPLES):
        start = last * index // (SAMPLES - 1)
        yield data[start : start + SAMPLE_BYTES].tobytes()

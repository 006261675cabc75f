"""Names for content: a digest over what identifies a model, cheap enough for files of many gigabytes."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

REVISION_BYTES = 6
SAMPLE_BYTES = 4096


def fingerprint(parts: Iterable[bytes]) -> str:
    """12 hex digits over `parts`; neither their order nor the borders between them may move."""
    digest = blake2b(digest_size=REVISION_BYTES, person=b"stoker-revision")
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def data_samples(data: NDArray[np.uint8], starts: Iterable[int]) -> Iterator[bytes]:
    """The size of a file, and a block from where each tensor starts.

    Training moves every value of the tensors that it trains, so this tells versions apart without reading them whole.
    """
    yield data.size.to_bytes(8, "little")
    for start in starts:
        yield data[start : start + SAMPLE_BYTES].tobytes()

"""Maps model files into memory."""

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stoker_worker.errors import ModelFileError


def map_file(path: Path) -> NDArray[np.uint8]:
    """The file's bytes, read-only and paged in on demand. Raises ModelFileError if it is missing, unreadable or empty."""
    try:
        with path.open("rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except FileNotFoundError as error:
        raise ModelFileError(path, "there is no such file") from error
    except ValueError as error:
        raise ModelFileError(path, "is empty; download or copy it again") from error
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from error

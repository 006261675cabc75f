"""`python -m stoker_worker.kernels.native FOLDER`: compile the library for every processor of this kind of machine, for an image."""

import platform
import sys
from pathlib import Path

from stoker_worker.errors import NativeUnavailable
from stoker_worker.kernels.native.build import PREBUILT, ship


def main() -> int:
    """The exit code."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PREBUILT
    try:
        for made in ship(folder, platform.machine()):
            print(made)
    except NativeUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The operator's own verbs. The control plane is not built yet: every verb says so and exits with 2."""

import sys


def main() -> int:
    """Explain that there is nothing to run yet; returns the exit code 2."""
    sys.stderr.write("stoker: the operator is not part of this version; `stoker up` serves a model on this machine\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())

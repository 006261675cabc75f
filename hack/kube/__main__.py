"""`python -m hack.kube build [NAME...]`: build the parts that are not in the cache yet."""

import argparse
import sys

from hack.kube.binaries import BINARIES, BuildFailure, ensure


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hack.kube", description=__doc__)
    parser.add_argument("verb", choices=["build"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BINARIES)}  [default: all]")
    given = parser.parse_args()
    unknown = set(given.names) - set(BINARIES)
    if unknown:
        parser.error(f"no binary is called {', '.join(sorted(unknown))}; there are {', '.join(BINARIES)}")
    try:
        for path in ensure(given.names or BINARIES).values():
            print(path)
    except BuildFailure as error:
        print(f"hack.kube: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""python -m hack.images FOLDER [NAME...]: write archives of the images, all or those named, for `ctr images import`."""

import argparse
import sys
from pathlib import Path

from hack.images.assemble import RECIPES, CannotAssemble, assemble
from hack.kube.base import NoBase


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m hack.images", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--tag", default="dev", help="of their names, localhost/stoker/NAME:TAG [dev]")
    given = parser.parse_args()
    if unknown := set(given.names) - RECIPES.keys():
        parser.error(f"no image is called {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    try:
        for name in given.names or RECIPES:
            path = assemble(name, given.folder, given.tag)
            print(f"{path}  localhost/stoker/{name}:{given.tag}  {path.stat().st_size / 1e6:.0f} MB")
    except (CannotAssemble, NoBase) as failure:
        print(f"hack.images: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Kubernetes from Go modules, on one machine.

build [NAME...]   build the parts that are not in the cache yet
up                start a cluster with one real node, and fake ones beside it
down              remove it, and everything that belongs to it
status            show its nodes; exit code 1 if it does not answer
"""

import argparse
import sys

from hack.kube import cluster, fake_nodes
from hack.kube.access import CommandFailure
from hack.kube.binaries import BINARIES, BuildFailure, ensure
from hack.kube.fake_nodes import BadNodes
from hack.kube.machine import Unfit
from hack.kube.processes import StartFailure
from hack.kube.records import AlreadyRunning

FAILURES = (AlreadyRunning, BadNodes, BuildFailure, CommandFailure, StartFailure, Unfit)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 1 for what went wrong, 2 (from argparse) for a wrong argument."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except FAILURES as failure:
        print(f"hack.kube: {failure}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hack.kube", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    build = verbs.add_parser("build", help="build the parts that are not in the cache yet")
    build.add_argument("names", nargs="*", metavar="NAME", type=_binary, help=f"of {', '.join(BINARIES)} [all]")
    build.set_defaults(run=_build)
    up = verbs.add_parser("up", help="start a cluster")
    up.add_argument("--fake-nodes", default="0", help="how many, or a YAML file with groups of them [0]")
    up.add_argument("--gpus", type=_count, default=0, help="accelerators that the real node pretends to have [0]")
    up.set_defaults(run=_up)
    verbs.add_parser("down", help="remove it").set_defaults(run=_down)
    verbs.add_parser("status", help="show its nodes").set_defaults(run=_status)
    return parser


def _binary(name: str) -> str:
    if name not in BINARIES:
        raise argparse.ArgumentTypeError(f"no binary is called {name}; there are {', '.join(BINARIES)}")
    return name


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"a number of 0 or more is needed, not {text!r}")
    return int(text)


def _build(given: argparse.Namespace) -> int:
    for path in ensure(given.names or BINARIES).values():
        print(path)
    return 0


def _up(given: argparse.Namespace) -> int:
    started = cluster.up(fake_nodes.parse(given.fake_nodes), given.gpus)
    print(cluster.exports(started.kubeconfig))
    return 0


def _down(_: argparse.Namespace) -> int:
    print("removed" if cluster.down() else "there was nothing to remove")
    return 0


def _status(_: argparse.Namespace) -> int:
    works, text = cluster.status()
    print(text)
    return 0 if works else 1


if __name__ == "__main__":
    sys.exit(main())

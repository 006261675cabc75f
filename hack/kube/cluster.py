"""The developer's cluster: `make cluster-up`, `make cluster-down` and what is there between them."""

import time
from pathlib import Path

from hack.kube import node, records
from hack.kube.access import CommandFailure
from hack.kube.fake_nodes import NodeGroup
from hack.kube.node import Cluster
from hack.kube.records import Record
from hack.kube.site import Site

SITE = Site(0)


def folder() -> Path:
    """Where its files are. Not in the checkout: `make clean` may not take a running node's files away."""
    return Path.home() / ".cache" / "stoker" / "cluster"


def up(nodes: tuple[NodeGroup, ...], gpus: int) -> Cluster:
    """Start it, to stay. Prints each step with its time. Raises what `node.start` and `node.claim` raise."""
    began = time.monotonic()
    node.claim(SITE, Record.mine(folder()))
    try:
        cluster = node.start(
            folder(), SITE, nodes, gpus, lambda what: print(f"{time.monotonic() - began:5.1f} s  {what}", flush=True)
        )
    except BaseException:
        node.stop(SITE)
        raise
    records.replace(SITE, Record.kept(folder()))
    return cluster


def down() -> bool:
    """Remove it, whole or in pieces; returns whether there was anything to remove."""
    there = bool(records.read(SITE) or node.left(SITE))
    node.stop(SITE, keep_logs=False)
    return there


def status() -> tuple[bool, str]:
    """Whether it works, and what to say of it."""
    if not records.read(SITE):
        pieces = node.left(SITE)
        return False, f"only {', '.join(pieces)} is left: `make cluster-down` removes it" if pieces else "not up"
    try:
        return True, node.access(folder(), SITE).kubectl("get", "nodes", "--request-timeout=5s").rstrip()
    except CommandFailure as failure:
        return False, f"up, but the API server does not answer: {failure}"

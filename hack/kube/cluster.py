"""The developer's cluster: `make cluster-up`, `make cluster-down` and what is there between them."""

import sys
import time
from pathlib import Path

import httpx
from hack.kube import fake_nodes, machine, node, places, records
from hack.kube.binaries import CLIENTS, ensure
from hack.kube.fake_nodes import NodeGroup
from hack.kube.node import Cluster
from hack.kube.records import Record
from hack.kube.site import Site

SITE = Site(0)
ANSWER_TIMEOUT_S = 3


def folder() -> Path:
    """Where its files are. Not in the checkout: `make clean` may not take a running node's files away."""
    return Path.home() / ".cache" / "stoker" / "cluster"


def up(nodes: tuple[NodeGroup, ...], gpus: int) -> Cluster:
    """Start it, to stay. Prints each step with its time. Raises what `places.claim` and `node.start` raise."""
    began = time.monotonic()
    places.claim(SITE, Record.mine(folder()))
    try:
        cluster = node.start(
            folder(),
            SITE,
            nodes,
            gpus,
            lambda what: print(f"{time.monotonic() - began:5.1f} s  {what}", file=sys.stderr, flush=True),
        )
    except BaseException:
        places.stop(SITE)
        raise
    records.replace(SITE, Record.kept(folder()))
    return cluster


def exports(kubeconfig: Path) -> str:
    """What a shell needs to use it: `eval` takes it as it is. kubectl and Helm come last on PATH: one's own go first."""
    folders = [str(path.parent) for path in ensure(CLIENTS).values()]
    return f"export KUBECONFIG={kubeconfig}\nexport PATH=$PATH:{':'.join(folders)}"


def down() -> bool:
    """Remove it, whole or in pieces; returns whether there was anything to remove. Raises Unfit, StartFailure."""
    if not (records.read(SITE) or places.left(SITE)):
        return False
    machine.require_root()
    places.stop(SITE, keep_logs=False)
    return True


def status() -> tuple[bool, str]:
    """Whether it works, and what to say of it."""
    record, pieces = records.read(SITE), places.left(SITE)
    if record and not record.orphaned:
        return _nodes()
    if record or pieces:
        return False, f"half up ({', '.join(pieces)}): `make cluster-down` removes what is there"
    return False, "not up: `make cluster-up` starts it"


def _nodes() -> tuple[bool, str]:
    access = node.access(folder(), SITE)
    try:
        with access.client() as client:
            found = client.get("/api/v1/nodes", timeout=ANSWER_TIMEOUT_S).raise_for_status().json()["items"]
    except (OSError, httpx.HTTPError) as error:
        return False, f"up, but the API server does not answer: {error}"
    ready = sum(fake_nodes.ready(one) for one in found)
    return ready == len(found) > 0, f"{ready} of {len(found)} nodes Ready\n{exports(access.kubeconfig)}"

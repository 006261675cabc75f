"""A whole Kubernetes on one machine: a real node with real pods, in namespaces and a cgroup of its own.

The machine reaches the API server, pods and Services over a cable of its own; nothing else does.
"""

import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import httpx
from hack.kube import cgroups, credentials, fake_nodes, machine, node_files
from hack.kube.access import Access
from hack.kube.binaries import API, CLIENTS, CONTROLLERS, NODE, ensure
from hack.kube.fake_nodes import NodeGroup, groups
from hack.kube.image import Image, write_image, write_layer
from hack.kube.init import HOME
from hack.kube.node_files import PAUSE_IMAGE, RESOLVER
from hack.kube.parts import GPU, Parts, api_names, clients
from hack.kube.places import claim_any, remove, stop
from hack.kube.processes import wait_until
from hack.kube.records import Record
from hack.kube.site import SITES, Site
from hack.kube.supervisor import Supervisor

SITES_OF_TESTS = tuple(Site(number) for number in range(1, SITES))  # Site(0) is the developer's own
COREDNS = Path(__file__).parent / "manifests" / "coredns.yaml"
RESOLVER_IMAGE = "localhost/coredns:1"


@dataclass(frozen=True, slots=True)
class Cluster(Access):
    """How to reach the cluster, and what only its owner may do. `folder`/logs has its logs."""

    folder: Path
    parts: Parts
    supervisor: Supervisor
    counter: Iterator[int] = field(default_factory=itertools.count)

    @property
    def site(self) -> Site:
        """The cluster's addresses; `host_ip` is how its pods and its API server reach this machine."""
        return self.parts.site

    def import_image(self, archive: Path) -> None:
        """Make the images of an archive (see `image.write_image`) known to the node. Raises StartFailure."""
        inside = self.folder / "images" / f"{os.getpid()}-{next(self.counter)}.tar"
        # The node sees less of the machine's files than we do.
        try:
            inside.hardlink_to(archive)
        except OSError:
            shutil.copyfile(archive, inside)
        try:
            command = self.parts.ctr("images", "import", "--local", str(HOME / "images" / inside.name))
            self.supervisor.run(f"import-{inside.stem}", command)
        finally:
            inside.unlink()

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Poll `ready`. Raises StartFailure if a part failed meanwhile, or nothing came in time."""
        wait_until(self.supervisor, ready, what)

    def freeze_api_server(self) -> None:
        """Stop answering, with every connection kept open: what clients see when the machine under it hangs."""
        self.supervisor.signal("kube-apiserver", signal.SIGSTOP)

    def thaw_api_server(self) -> None:
        """Undo `freeze_api_server`."""
        self.supervisor.signal("kube-apiserver", signal.SIGCONT)


@contextmanager
def running(folder: Path, *, fake_nodes: int | tuple[NodeGroup, ...] = 0, gpus: int = 0) -> Iterator[Cluster]:
    """A cluster for the length of the block, beside others; in the end only its logs are left, in `folder`/node/logs.

    folder       on a disk: images are unpacked there
    fake_nodes   how many nodes without machines, or which
    gpus         how many accelerators the real node pretends to have

    Raises Unfit, AlreadyRunning, BuildFailure, StartFailure.
    """
    nodes, home = groups(fake_nodes), folder.resolve() / "node"
    site = claim_any(SITES_OF_TESTS, Record.mine(home))
    try:
        yield start(home, site, nodes, gpus)
    finally:
        stop(site)


def start(
    folder: Path, site: Site, nodes: tuple[NodeGroup, ...], gpus: int, say: Callable[[str], None] = lambda _: None
) -> Cluster:
    """Start a node whose number is claimed; whoever claimed it stops it, also when this fails.

    `folder` is the node's own: what was there is removed. `say` hears of every step that is done.
    Raises Unfit, BuildFailure, StartFailure.
    """
    cluster = _boot(folder, site)
    say("namespaces and network")
    for name, command in cluster.parts.first().items():
        cluster.supervisor.start(name, command)
    _import_own_images(cluster)
    say("containerd with its images")
    with cluster.client() as client:
        cluster.wait_until(lambda: _serves_api(client), "API server")
        say("API server")
        _start_workers(cluster, client, nodes, gpus)
        for what, ready in _stages(client, site, nodes, gpus).items():
            cluster.wait_until(ready, what)
            say(what)
    return cluster


def _boot(folder: Path, site: Site) -> Cluster:
    """Everything that is there before the first part starts."""
    parts = Parts(site, ensure((*API, *CONTROLLERS, *NODE, *CLIENTS[:1])))
    remove(folder)
    folder.mkdir(parents=True)
    admin = credentials.issue(folder / "pki", parts.listener.api, api_names(site), clients(site))
    node_files.write(folder, site, parts.binaries)
    supervisor = Supervisor(folder)
    supervisor.boot(site.name, cgroups.create(site.name), parts.path())
    cgroups.settle(site.name)
    machine.plug(site, supervisor.pid())
    return Cluster(admin.url, admin.ca, admin.cert, admin.key, admin.kubeconfig, folder, parts, supervisor)


def _stages(client: httpx.Client, site: Site, nodes: tuple[NodeGroup, ...], gpus: int) -> dict[str, Callable[[], bool]]:
    """What is still to come when all parts have started, and how to see it."""
    real = {"node Ready": lambda: _node_ready(client, site, gpus), "cluster DNS": lambda: _serves_pods(client)}
    return {**real, "fake nodes Ready": lambda: fake_nodes.all_ready(client, nodes)} if nodes else real


def access(folder: Path, site: Site) -> Access:
    """The administrator's access to a node that runs below `folder`."""
    return credentials.administrator(folder / "pki", Parts(site, {}).listener.api)


def _import_own_images(cluster: Cluster) -> None:
    binaries, folder = cluster.parts.binaries, cluster.folder / "images"
    folder.mkdir()
    cluster.wait_until((cluster.folder / "containerd" / "containerd.sock").exists, "containerd")
    for name, tag, user in (("pause", PAUSE_IMAGE, "65535:65535"), ("coredns", RESOLVER_IMAGE, "65534:65534")):
        layer = write_layer(folder / f"{name}.layer", {f"/{name}": binaries[name]}, mode=0o755)
        archive = folder / f"{name}.tar"
        write_image(archive, Image(tag, (layer,), entrypoint=(f"/{name}",), user=user))
        cluster.import_image(archive)
        layer.path.unlink()
        archive.unlink()


def _start_workers(cluster: Cluster, client: httpx.Client, nodes: tuple[NodeGroup, ...], gpus: int) -> None:
    """Start what waits for the API server, and the cluster's resolver."""
    # Before anybody watches: else every node is work for four programs while it is being made.
    fake_nodes.create(client, nodes)
    for name, command in cluster.parts.second(gpus).items():
        cluster.supervisor.start(name, command)
    if nodes:
        cluster.supervisor.start("kwok", cluster.parts.kwok(fake_nodes.STAGES))
    address = cluster.site.service(RESOLVER)
    resolver = Template(COREDNS.read_text()).substitute(address=address, image=RESOLVER_IMAGE)
    cluster.kubectl("create", "-f", "-", stdin=resolver)


def _serves_api(client: httpx.Client) -> bool:
    return all(_found(client, path) is not None for path in ("/readyz", "/api/v1/namespaces/kube-system"))


def _node_ready(client: httpx.Client, site: Site, gpus: int) -> bool:
    node = _found(client, f"/api/v1/nodes/{site.name}")
    return node is not None and fake_nodes.ready(node) and int(node["status"]["allocatable"].get(GPU, 0)) == gpus


def _serves_pods(client: httpx.Client) -> bool:
    """Whether a pod that is created now would have a service account and a resolver."""
    resolver = _found(client, "/apis/apps/v1/namespaces/kube-system/deployments/coredns")
    account = _found(client, "/api/v1/namespaces/default/serviceaccounts/default")
    return bool(account and resolver and resolver["status"].get("availableReplicas"))


def _found(client: httpx.Client, path: str) -> Any:
    """The object, None while there is none or the API server does not answer."""
    try:
        answer = client.get(path)
    except httpx.TransportError:
        return None
    if answer.status_code != 200:
        return None
    return answer.json() if answer.headers["content-type"] == "application/json" else answer.text

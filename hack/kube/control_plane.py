"""A control plane as plain processes on the loopback address: seconds to start, nothing left behind, no root needed.

etcd and the API server; with `controllers` the controller manager and the scheduler too; with fake nodes kwok, so that
workloads get pods that run.
"""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from hack.kube import credentials, options
from hack.kube.access import Access
from hack.kube.binaries import API, CONTROLLERS, ensure
from hack.kube.fake_nodes import STAGES, NodeGroup, all_ready, create, groups
from hack.kube.options import Listener
from hack.kube.processes import Processes, StartFailure, owned

__all__ = ["ControlPlane", "StartFailure", "running"]

LOCAL = "127.0.0.1"
SERVICES = "10.96.0.0/16"
FAKE_PODS = "10.245.0.0/16"


@dataclass(frozen=True, slots=True)
class ControlPlane(Access):
    """How to reach it, and a way to take the API server away for a while."""

    processes: Processes

    def freeze_api_server(self) -> None:
        """Stop answering, with every connection kept open: what clients see when the machine under it hangs."""
        self.processes.signal("kube-apiserver", signal.SIGSTOP)

    def thaw_api_server(self) -> None:
        """Undo `freeze_api_server`."""
        self.processes.signal("kube-apiserver", signal.SIGCONT)


@contextmanager
def running(
    folder: Path, *, build: bool = True, controllers: bool = False, nodes: int | tuple[NodeGroup, ...] = 0
) -> Iterator[ControlPlane]:
    """Start all below `folder`, which must be empty, and kill it in the end. Raises BuildFailure, StartFailure.

    controllers   Deployments get pods, pods get nodes, owners' children are collected
    nodes         how many fake ones, or which; Ready when the block begins. They bring the controllers with them
    """
    fakes = groups(nodes)
    controllers = controllers or bool(fakes)
    binaries = ensure((*API, *CONTROLLERS) if controllers else API, build=build)
    api_port, etcd_port, peer_port, manager_port, scheduler_port = _free_ports(5)
    at = Listener(LOCAL, api_port, etcd_port, peer_port, SERVICES)
    access = credentials.issue(folder / "pki", at.api, ("localhost", LOCAL))
    with owned(folder) as processes:
        pki = folder / "pki"
        api = [*options.api_server(pki, at), *_loopback_options(controllers)]
        processes.start({"etcd": [str(binaries["etcd"]), *options.etcd(folder, at)]})
        processes.start({"kube-apiserver": [str(binaries["kube-apiserver"]), *api]})
        with access.client() as client:
            processes.wait_until(lambda: _answers(client), "API server ready")
            # Before anybody watches: else every node is work for four programs while it is being made.
            create(client, fakes)
            if controllers:
                processes.start(_controllers(binaries, pki, manager_port, scheduler_port))
            if fakes:
                kwok = options.kwok(access.kubeconfig, STAGES, FAKE_PODS)
                processes.start({"kwok": [str(binaries["kwok"]), *kwok]})
            if controllers:
                processes.wait_until(lambda: _at_work(client, fakes), "controllers and fake nodes")
        yield ControlPlane(access.url, access.ca, access.cert, access.key, access.kubeconfig, processes)


DEFAULT_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def _controllers(binaries: dict[str, Path], pki: Path, manager: int, scheduler: int) -> dict[str, list[str]]:
    return {
        "kube-controller-manager": [
            str(binaries["kube-controller-manager"]),
            *options.controller_manager(pki, manager),
        ],
        "kube-scheduler": [str(binaries["kube-scheduler"]), *options.scheduler(pki, scheduler)],
    }


def _at_work(client: httpx.Client, nodes: tuple[NodeGroup, ...]) -> bool:
    return _exists(client, DEFAULT_ACCOUNT) and all_ready(client, nodes)


def _loopback_options(controllers: bool) -> list[str]:
    # Without a controller manager there are no service accounts for pods to have. With one, every new node would be
    # tainted as not ready and wait until it has been looked at; fake ones are Ready from the start.
    plugin = "TaintNodesByCondition" if controllers else "ServiceAccount"
    # Nothing could reach the endpoints of the Service `kubernetes`.
    endpoints = ("--endpoint-reconciler-type", "none")
    return ["--authorization-mode", "RBAC", *endpoints, "--disable-admission-plugins", plugin]


def _answers(client: httpx.Client) -> bool:
    return all(_exists(client, path) for path in ("/readyz", "/api/v1/namespaces/default"))


def _exists(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind((LOCAL, 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

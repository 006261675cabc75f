"""Command-line options of the control plane's parts, for a loopback address and for a node alike."""

from dataclasses import dataclass
from pathlib import Path

CLUSTER_DOMAIN = "cluster.local"
ISSUER = f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}"
# The default of 20 requests a second would make 200 pods take 9 s instead of 2.
CLIENT_RATE = ("--kube-api-qps", "300", "--kube-api-burst", "600")


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a control plane listens. `services` is the range that Services' addresses come from."""

    address: str
    api_port: int
    etcd_port: int
    peer_port: int
    services: str

    @property
    def api(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def etcd(self) -> str:
        """The store's URL."""
        return f"http://127.0.0.1:{self.etcd_port}"


def etcd(folder: Path, at: Listener) -> list[str]:
    """A store that need not survive the machine: nothing is flushed to disk."""
    peer = f"http://127.0.0.1:{at.peer_port}"
    return [
        *("--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level", "error"),
        *("--listen-client-urls", at.etcd, "--advertise-client-urls", at.etcd),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"default={peer}"),
    ]


def api_server(pki: Path, at: Listener) -> list[str]:
    """What every kind of control plane has in common; RBAC decides."""
    return [
        *("--etcd-servers", at.etcd, "--bind-address", at.address, "--advertise-address", at.address),
        *("--secure-port", str(at.api_port), "--service-cluster-ip-range", at.services),
        *("--tls-cert-file", f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key"),
        *("--client-ca-file", f"{pki}/ca.crt", "--service-account-issuer", ISSUER),
        *("--service-account-key-file", f"{pki}/service-accounts.pub"),
        *("--service-account-signing-key-file", f"{pki}/service-accounts.key"),
    ]


def controller_manager(pki: Path, port: int) -> list[str]:
    """Every controller with a service account of its own, as in production; no leader election: there is one."""
    return [
        *_identity(pki / "controller-manager.conf", port),
        *("--use-service-account-credentials", "--root-ca-file", f"{pki}/ca.crt"),
        *("--service-account-private-key-file", f"{pki}/service-accounts.key"),
        *("--cluster-signing-cert-file", f"{pki}/ca.crt", "--cluster-signing-key-file", f"{pki}/ca.key"),
    ]


def scheduler(pki: Path, port: int) -> list[str]:
    """The default profile."""
    return _identity(pki / "scheduler.conf", port)


def kwok(kubeconfig: Path, stages: Path, pods: str) -> list[str]:
    """Plays the kubelet of every node with FAKE_NODE's annotation; its pods get addresses of the range `pods`."""
    return [
        *("--kubeconfig", str(kubeconfig), "--config", str(stages), "--manage-all-nodes=false"),
        *("--manage-nodes-with-annotation-selector", FAKE_NODE, "--cidr", pods),
        *("--node-lease-duration-seconds", "40"),
    ]


FAKE_NODE = "kwok.x-k8s.io/node=fake"


def _identity(kubeconfig: Path, port: int) -> list[str]:
    kubeconfigs = ("--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig")
    return [
        *(part for option in kubeconfigs for part in (option, str(kubeconfig))),
        *("--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", str(port), *CLIENT_RATE),
    ]

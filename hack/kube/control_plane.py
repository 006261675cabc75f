"""etcd and the API server as plain processes on the loopback address: seconds to start, nothing left behind."""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from hack.kube.binaries import CONTROL_PLANE, ensure
from hack.kube.pki import Authority

START_TIMEOUT_S = 60
LOCAL = "127.0.0.1"


class StartFailure(Exception):
    """A part did not come up; the text ends with its log."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the API server is, and who its administrator is. Files are PEM."""

    url: str
    ca: Path
    cert: Path
    key: Path

    def client(self) -> httpx.Client:
        """An HTTP client with the administrator's certificate."""
        import ssl

        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=30)


@contextmanager
def running(folder: Path, *, build: bool = True) -> Iterator[ControlPlane]:
    """Start both below `folder`, which must be empty, and kill them in the end. Raises BuildFailure, StartFailure."""
    binaries = ensure(CONTROL_PLANE, build=build)
    pki = _certificates(folder / "pki")
    etcd_port, peer_port, api_port = _free_ports(3)
    etcd = f"http://{LOCAL}:{etcd_port}"
    commands = {
        "etcd": [str(binaries["etcd"]), *_etcd_options(folder, etcd, f"http://{LOCAL}:{peer_port}")],
        "kube-apiserver": [str(binaries["kube-apiserver"]), *_api_options(pki, etcd, api_port)],
    }
    plane = ControlPlane(f"https://{LOCAL}:{api_port}", pki / "ca.crt", pki / "admin.crt", pki / "admin.key")
    with _processes(folder, commands) as processes:
        _wait_until_ready(plane, folder, processes)
        yield plane


def _certificates(folder: Path) -> Path:
    authority = Authority.create(folder)
    authority.server("apiserver", "localhost", LOCAL)
    authority.client("admin", "admin", "system:masters")
    authority.signing_key("service-accounts")
    return folder


def _etcd_options(folder: Path, url: str, peer_url: str) -> list[str]:
    return [
        *("--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level", "error"),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"default={peer_url}"),
    ]


def _api_options(pki: Path, etcd: str, port: int) -> list[str]:
    return [
        *("--etcd-servers", etcd, "--bind-address", LOCAL, "--advertise-address", LOCAL, "--secure-port", str(port)),
        *("--tls-cert-file", f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key"),
        *("--client-ca-file", f"{pki}/ca.crt", "--authorization-mode", "RBAC"),
        *("--service-account-key-file", f"{pki}/service-accounts.pub"),
        *("--service-account-signing-key-file", f"{pki}/service-accounts.key"),
        *("--service-account-issuer", "https://kubernetes.default.svc"),
        *("--service-cluster-ip-range", "10.96.0.0/16", "--endpoint-reconciler-type", "none"),
        # Without a controller manager there are no service accounts for pods to have.
        *("--disable-admission-plugins", "ServiceAccount"),
    ]


@contextmanager
def _processes(folder: Path, commands: Mapping[str, Sequence[str]]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                started[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        yield started
    finally:
        for process in reversed(started.values()):
            process.kill()  # the API server takes seconds to end politely, and nothing here outlives it
            process.wait()


def _wait_until_ready(plane: ControlPlane, folder: Path, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with plane.client() as client:
        while not _answers(client):
            for name, process in processes.items():
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (folder / f"{name}.log").read_text(errors="replace")
                    raise StartFailure(f"{name} did not come up:\n{log[-2000:]}")
            time.sleep(0.05)


def _answers(client: httpx.Client) -> bool:
    try:
        return all(client.get(path).status_code == 200 for path in ("/readyz", "/api/v1/namespaces/default"))
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

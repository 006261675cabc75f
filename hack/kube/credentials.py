"""Who takes part in a cluster: certificates, and a kubeconfig for every client."""

from collections.abc import Mapping
from pathlib import Path

from hack.kube.access import Access, write_kubeconfig
from hack.kube.pki import Authority

# user, groups
CLIENTS: Mapping[str, tuple[str, ...]] = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager",),
    "scheduler": ("system:kube-scheduler",),
}


def issue(folder: Path, url: str, hosts: tuple[str, ...], clients: Mapping[str, tuple[str, ...]] = CLIENTS) -> Access:
    """Write everything below `folder`: the API server's certificate for `hosts`, `<client>.conf` for each client.

    Returns the administrator's access.
    """
    authority = Authority.create(folder)
    authority.write_key()
    authority.server("apiserver", *hosts)
    authority.signing_key("service-accounts")
    for name, (user, *groups) in clients.items():
        authority.client(name, user, *groups)
        write_kubeconfig(folder / f"{name}.conf", url, *_files(folder, name))
    return administrator(folder, url)


def administrator(folder: Path, url: str) -> Access:
    """The administrator's access, by what `issue` wrote below `folder`."""
    return Access(url, *_files(folder, "admin"), folder / "admin.conf")


def _files(folder: Path, name: str) -> tuple[Path, Path, Path]:
    return folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key"

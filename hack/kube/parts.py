"""The commands of a node's parts, as the node sees its files."""

from dataclasses import dataclass
from pathlib import Path

from hack.kube import credentials, options
from hack.kube.init import HOME
from hack.kube.node_files import CONFIG, SOCKET
from hack.kube.options import Listener
from hack.kube.site import Site

PKI = HOME / "pki"
GPU = "nvidia.com/gpu"
REGION, ZONE = "local", "local-a"


def clients(site: Site) -> dict[str, tuple[str, ...]]:
    """Everybody with a certificate, as user and groups."""
    return {
        **credentials.CLIENTS,
        "kubelet": (f"system:node:{site.name}", "system:nodes"),
        "proxy": ("system:kube-proxy",),
        "apiserver-kubelet": ("apiserver-kubelet", "system:masters"),
        "front-proxy": ("front-proxy",),
    }


def api_names(site: Site) -> tuple[str, ...]:
    """What the API server is called by the machine and by pods."""
    service = "kubernetes.default.svc"
    addresses = (site.node_ip, site.service(1))
    return ("kubernetes", "kubernetes.default", service, f"{service}.{options.CLUSTER_DOMAIN}", *addresses)


@dataclass(frozen=True, slots=True)
class Parts:
    """Every command line begins with the binary's own path."""

    site: Site
    binaries: dict[str, Path]

    @property
    def listener(self) -> Listener:
        """The node's own network has every port free."""
        return Listener(self.site.node_ip, 6443, 2379, 2380, self.site.services)

    def first(self) -> dict[str, list[str]]:
        """What needs nothing else."""
        return {
            "containerd": self._command("containerd", "--config", f"{CONFIG}/containerd.toml"),
            "etcd": self._command("etcd", *options.etcd(HOME, self.listener)),
            "kube-apiserver": self._command("kube-apiserver", *options.api_server(PKI, self.listener), *_api_options()),
        }

    def second(self, gpus: int) -> dict[str, list[str]]:
        """What would wait long for an API server that is not ready yet."""
        return {
            "kube-controller-manager": self._command(
                "kube-controller-manager", *options.controller_manager(PKI, 10257)
            ),
            "kube-scheduler": self._command("kube-scheduler", *options.scheduler(PKI, 10259)),
            "kubelet": self._command("kubelet", *self._kubelet_options(gpus)),
            "kube-proxy": self._command("kube-proxy", "--config", f"{CONFIG}/kube-proxy.yaml"),
            **({"gpus": self._command("gpus", GPU, str(gpus))} if gpus else {}),
        }

    def kwok(self, stages: Path) -> list[str]:
        """The kubelet of fake nodes."""
        return self._command("kwok", *options.kwok(PKI / "admin.conf", stages, self.site.fake_pods))

    def ctr(self, *args: str) -> list[str]:
        """Containerd's own client, for the images that kubelet sees."""
        return self._command("ctr", "--address", str(SOCKET), "--namespace", "k8s.io", *args)

    def path(self) -> str:
        """Where parts find each other, and the machine's tools."""
        folders = [str(path.parent) for path in self.binaries.values()]
        return ":".join([*folders, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"])

    def _command(self, name: str, *args: str) -> list[str]:
        return [str(self.binaries[name]), *args]

    def _kubelet_options(self, gpus: int) -> list[str]:
        labels = {
            "topology.kubernetes.io/region": REGION,
            "topology.kubernetes.io/zone": ZONE,
            **({"nvidia.com/gpu.product": "fake", "nvidia.com/gpu.count": str(gpus)} if gpus else {}),
        }
        return [
            *("--kubeconfig", f"{PKI}/kubelet.conf", "--config", f"{CONFIG}/kubelet.yaml"),
            *("--hostname-override", self.site.name, "--node-ip", self.site.node_ip),
            *("--node-labels", ",".join(f"{name}={value}" for name, value in labels.items())),
        ]


def _api_options() -> list[str]:
    return [
        *("--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction", "--allow-privileged"),
        *("--kubelet-client-certificate", f"{PKI}/apiserver-kubelet.crt"),
        *("--kubelet-client-key", f"{PKI}/apiserver-kubelet.key", "--kubelet-preferred-address-types", "InternalIP"),
        # Aggregated APIs: a metrics server, say.
        *("--requestheader-client-ca-file", f"{PKI}/ca.crt", "--requestheader-allowed-names", "front-proxy"),
        *("--requestheader-username-headers", "X-Remote-User", "--requestheader-group-headers", "X-Remote-Group"),
        *("--requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        *("--proxy-client-cert-file", f"{PKI}/front-proxy.crt", "--proxy-client-key-file", f"{PKI}/front-proxy.key"),
    ]

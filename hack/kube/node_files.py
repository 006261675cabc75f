"""The configuration files of a node's parts, as these see them: everything is below `init.HOME`."""

import json
from pathlib import Path
from typing import Any

from hack.kube.binaries import CNI
from hack.kube.init import HOME
from hack.kube.options import CLUSTER_DOMAIN
from hack.kube.site import Site

CONFIG = HOME / "config"
SOCKET = HOME / "containerd" / "containerd.sock"
PAUSE_IMAGE = "localhost/pause:1"
RESOLVER = 10  # of the Services' addresses


def write(folder: Path, site: Site, binaries: dict[str, Path]) -> None:
    """Write all of them below `folder`, the machine's name of `init.HOME`."""
    config = folder / "config"
    (config / "cni").mkdir(parents=True)
    (config / "containerd.toml").write_text(_containerd(binaries))
    files = {"cni/10-pods.conflist": _network(site), "kubelet.yaml": _kubelet(site), "kube-proxy.yaml": _proxy(site)}
    for name, content in files.items():
        (config / name).write_text(json.dumps(content, indent=1))
    # Pods ask the cluster's resolver; the node itself resolves nothing.
    (config / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def _containerd(binaries: dict[str, Path]) -> str:
    plugins = json.dumps(sorted({str(binaries[name].parent) for name in CNI}))
    unused = ("snapshotter.v1.blockfile", "snapshotter.v1.erofs", "differ.v1.erofs", "nri.v1.nri")
    return f"""
version = 3
root = "{HOME}/containerd/root"
state = "{HOME}/containerd/state"
disabled_plugins = {json.dumps([f"io.containerd.{name}" for name in unused])}
[grpc]
address = "{SOCKET}"
[plugins.'io.containerd.internal.v1.opt']
path = "{HOME}/containerd/opt"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"
[plugins.'io.containerd.cri.v1.runtime']
# Lowering a score below one's own needs a capability that a container's root may lack.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = {plugins}
conf_dir = "{CONFIG}/cni"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{binaries["runc"]}"
SystemdCgroup = false
"""


def _network(site: Site) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(HOME / "addresses"),
        "ranges": [[{"subnet": site.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    # No masquerading: the machine sees pods by their own addresses, and has a route to them.
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    ports = {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge | {"ipam": addresses}, ports]}


def _kubelet(site: Site) -> dict[str, Any]:
    disk = ("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(HOME / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [site.service(RESOLVER)],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(CONFIG / "resolv.conf"),
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "serializeImagePulls": False,
        # Images are imported and cannot be pulled again: never collect them.
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "evictionHard": {"memory.available": "100Mi", **dict.fromkeys(disk, "1%")},
        "protectKernelDefaults": True,
        "nodeStatusUpdateFrequency": "5s",
        "nodeStatusReportFrequency": "30s",
    }


def _proxy(site: Site) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": site.name,
        "clientConnection": {"kubeconfig": str(HOME / "pki" / "proxy.conf")},
        "clusterCIDR": site.pods,
        "detectLocalMode": "ClusterCIDR",
        # The default second between updates is how long a new Service may refuse.
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        # Zero: leave the machine's connection tracking as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }

"""What a node takes of the machine, and the files its parts read."""

import ipaddress
import itertools
import json
import tomllib
from pathlib import Path

import pytest
from hack.kube import cgroups, machine, node_files
from hack.kube.binaries import BINARIES
from hack.kube.cgroups import Hierarchy
from hack.kube.parts import Parts
from hack.kube.site import SITES, Site

OLD = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
37 31 0:34 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
NEW = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
ROUTES = [{"dst": "default", "dev": "eth0"}, {"dst": "10.244.0.0/16", "dev": "flannel"}]


@pytest.mark.parametrize(
    ("mountinfo", "found"),
    [
        pytest.param(
            OLD,
            [
                Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), "cgroup", "cpu,cpuacct"),
                Hierarchy(Path("/sys/fs/cgroup/systemd"), "cgroup", "none,name=systemd"),
            ],
            id="version 1, beside an empty version 2",
        ),
        pytest.param(NEW, [Hierarchy(Path("/sys/fs/cgroup"), "cgroup2", "rw")], id="version 2"),
    ],
)
def test_the_machines_cgroups_are_found(mountinfo: str, found: list[Hierarchy]) -> None:
    assert cgroups.hierarchies(mountinfo) == found


def test_no_two_nodes_share_an_address() -> None:
    sites = [Site(number) for number in range(SITES)]
    networks = [
        ipaddress.ip_network(text, strict=False)
        for site in sites
        for text in (f"{site.node_ip}/24", site.pods, site.services, site.fake_pods)
    ]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(networks, 2))
    for site in sites:
        assert ipaddress.ip_address(site.service(10)) in ipaddress.ip_network(site.services)


def test_addresses_that_the_machine_uses_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_run", lambda *_: json.dumps(ROUTES))
    with pytest.raises(machine.Unfit, match=r"a node wants 10\.244\.2\.0/24, and flannel has 10\.244\.0\.0/16"):
        machine._check_addresses(Site(2))


def test_the_parts_of_a_node_read_files_that_are_written(tmp_path: Path) -> None:
    site = Site(3)
    binaries = {name: Path("/cache") / name / name for name in BINARIES}
    node_files.write(tmp_path, site, binaries)
    containerd = tomllib.loads((tmp_path / "config" / "containerd.toml").read_text())
    runtime = containerd["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["cni"]["bin_dirs"] == ["/cache/bridge", "/cache/host-local", "/cache/loopback", "/cache/portmap"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/cache/runc/runc"
    kubelet = json.loads((tmp_path / "config" / "kubelet.yaml").read_text())
    assert kubelet["containerRuntimeEndpoint"] == f"unix://{containerd['grpc']['address']}"
    assert kubelet["clusterDNS"] == ["10.99.0.10"]
    parts = Parts(site, binaries)
    named = [word for command in (parts.first() | parts.second(0)).values() for word in command]
    for file in (word for word in named if word.startswith("/run/node/config/")):
        assert (tmp_path / file.removeprefix("/run/node/")).exists()


def test_gpus_bring_their_plugin_and_their_labels() -> None:
    parts = Parts(Site(0), {name: Path(name) for name in BINARIES})
    assert "gpus" not in parts.second(0)
    assert parts.second(4)["gpus"] == ["gpus", "nvidia.com/gpu", "4"]
    assert "nvidia.com/gpu.count=4" in parts.second(4)["kubelet"][-1]

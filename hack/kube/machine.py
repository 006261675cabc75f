"""What a node needs of the machine, and the cable between the two."""

import ipaddress
import json
import os
import shutil
import subprocess
from pathlib import Path

from hack.kube.site import Site

PACKAGES = {  # command: Debian's package
    "ip": "iproute2",
    "nft": "nftables",
    "mount": "mount",
    "unshare": "util-linux",
}
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


class Unfit(Exception):
    """The machine lacks something; the text is what to do."""


def check(site: Site) -> None:
    """Raises Unfit if no node can run here now."""
    require_root()
    missing = sorted({package for command, package in PACKAGES.items() if not shutil.which(command)})
    if missing:
        raise Unfit(f"a node needs commands that are missing here: apt-get install {' '.join(missing)}")
    if not BRIDGE_FILTER.exists():
        raise Unfit("pods of one node reach each other's Services only with a kernel module: modprobe br_netfilter")
    _check_addresses(site)


def require_root() -> None:
    """Raises Unfit for anybody else."""
    if os.geteuid() != 0:
        raise Unfit("a node needs root: it has namespaces, cgroups and network interfaces of its own")


def plug(site: Site, pid: int) -> None:
    """Lay a cable from the machine to the network namespace of `pid`, and routes to pods and Services."""
    _ip("link", "add", site.name, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("address", "add", f"{site.host_ip}/24", "dev", site.name)
    _ip("link", "set", site.name, "up")
    inside = ("nsenter", "--target", str(pid), "--net", "ip")
    _run(*inside, "address", "add", f"{site.node_ip}/24", "dev", "eth0")
    _run(*inside, "link", "set", "eth0", "up")
    # A node needs some default route; the machine forwards nothing.
    _run(*inside, "route", "add", "default", "via", site.host_ip)
    for network in (site.pods, site.services):
        _ip("route", "add", network, "via", site.node_ip)


def unplug(site: Site) -> None:
    """Remove the cable, if there is one; its routes go with it."""
    if plugged(site):
        _ip("link", "delete", site.name)


def plugged(site: Site) -> bool:
    """Whether the cable is there."""
    return Path("/sys/class/net", site.name).exists()


def _check_addresses(site: Site) -> None:
    wanted = [ipaddress.ip_network(text, strict=False) for text in (f"{site.host_ip}/24", site.pods, site.services)]
    for route in json.loads(_run("ip", "-json", "-4", "route")):
        if route["dst"] == "default" or route.get("dev") == site.name:
            continue
        taken = ipaddress.ip_network(route["dst"])
        for network in wanted:
            if network.overlaps(taken):
                raise Unfit(f"a node wants {network}, and {route.get('dev', 'a route')} has {taken}")


def _ip(*args: str) -> None:
    _run("ip", *args)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unfit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout

"""How a test cluster is reached: its API server's address, its administrator's certificate, kubectl and Helm."""

import base64
import json
import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from hack.kube.binaries import ensure

COMMAND_TIMEOUT_S = 300


class CommandFailure(Exception):
    """kubectl or Helm ended with an error; the text is the command and what it wrote to stderr."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, and who its administrator is. Files are PEM, `kubeconfig` names the same identity."""

    url: str
    ca: Path
    cert: Path
    key: Path
    kubeconfig: Path

    def client(self) -> httpx.Client:
        """An HTTP client with the administrator's certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=30)

    def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Kubectl's stdout. Raises CommandFailure."""
        return self._run("kubectl", ["--kubeconfig", str(self.kubeconfig), *args], stdin)

    def helm(self, *args: str) -> str:
        """Helm's stdout. Its caches live beside the kubeconfig. Raises CommandFailure."""
        return self._run("helm", ["--kubeconfig", str(self.kubeconfig), *args])

    def apply(self, *objects: dict[str, Any]) -> None:
        """`kubectl apply` objects that are given as dicts. Raises CommandFailure."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def _run(self, name: str, args: list[str], stdin: str | None = None) -> str:
        command = [str(ensure([name])[name]), *args]
        done = subprocess.run(
            command,
            input=stdin or "",
            env=os.environ | self._homes(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise CommandFailure(f"{name} {' '.join(args[2:])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _homes(self) -> dict[str, str]:
        home = self.kubeconfig.parent
        kinds = {f"HELM_{kind}_HOME": str(home / "helm" / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        # The cluster is on this machine: no proxy may come between.
        return {**kinds, "KUBECACHEDIR": str(home / "kubectl"), "NO_PROXY": "*", "no_proxy": "*"}


def write_kubeconfig(path: Path, url: str, ca: Path, cert: Path, key: Path) -> Path:
    """Write a kubeconfig that holds the certificates themselves, readable for its owner alone; returns `path`."""
    name = "stoker"
    user = {"client-certificate-data": _base64(cert), "client-key-data": _base64(key)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": _base64(ca)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=1))
    return path


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()

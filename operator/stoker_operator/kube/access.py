"""How to reach the API server, and as whom: from a kubeconfig, or as a pod does."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stoker_operator.errors import SettingsError

IN_CLUSTER_HOST = "kubernetes.default.svc"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Pem:
    """Something in PEM: its text, whatever file or field it came from."""

    text: str


@dataclass(frozen=True, slots=True)
class Access:
    """An API server and one way to be known there.

    ca          that signed the server's certificate; None: the machine's own
    token_file  read again before it can have expired: Kubernetes replaces it
    """

    url: str
    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = None
    token: str = ""
    token_file: Path | None = None
    insecure: bool = False

    def bearer(self) -> str:
        """The token now; "" if there is none."""
        return self.token_file.read_text().strip() if self.token_file else self.token

    def tls(self) -> ssl.SSLContext:
        """For the client's side of connections."""
        context = ssl.create_default_context(cadata=self.ca.text if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert and self.key:
            # ssl reads certificates from files only.
            with tempfile.TemporaryDirectory() as folder:
                cert, key = Path(folder, "cert"), Path(folder, "key")
                cert.write_text(self.cert.text)
                key.touch(mode=0o600)
                key.write_text(self.key.text)
                context.load_cert_chain(cert, key)
        return context


def find_access(kubeconfig: Path | None, env: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Access:
    """From the file if one is given, else as a pod's service account; `env` is the pod's. Raises SettingsError."""
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    if not (service_account / "token").is_file():
        raise SettingsError("this process runs in no pod: give --kubeconfig")
    host, port = env.get("KUBERNETES_SERVICE_HOST", IN_CLUSTER_HOST), env.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        url=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        ca=Pem((service_account / "ca.crt").read_text()),
        token_file=service_account / "token",
    )


def from_kubeconfig(path: Path) -> Access:
    """The current context's cluster and user. Raises SettingsError."""
    try:
        document = yaml.safe_load(path.read_text())
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"])["user"]
        return _access(path.parent, cluster, user)
    except OSError as error:
        raise SettingsError(f"--kubeconfig: {path}: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, binascii.Error) as error:
        raise SettingsError(f"--kubeconfig: {path} is no kubeconfig with a current context: {error}") from None


def _access(folder: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Access:
    unknown = {"exec", "auth-provider", "username"} & user.keys()
    if unknown:
        raise SettingsError(f"--kubeconfig: the user has {unknown.pop()}: use a token or client certificates")
    token_file = user.get("tokenFile")
    return Access(
        url=str(cluster["server"]).rstrip("/"),
        ca=_pem(folder, cluster, "certificate-authority"),
        cert=_pem(folder, user, "client-certificate"),
        key=_pem(folder, user, "client-key"),
        token=str(user.get("token", "")),
        token_file=folder / token_file if token_file else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
    )


def _named(document: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = next((entry for entry in document[section] if entry["name"] == name), None)
    if found is None:
        raise KeyError(f"{section}: {name}")
    return found


def _pem(folder: Path, entry: Mapping[str, Any], field: str) -> Pem | None:
    if f"{field}-data" in entry:
        return Pem(base64.b64decode(entry[f"{field}-data"]).decode())
    return Pem((folder / entry[field]).read_text()) if field in entry else None

"""Mutual TLS with workers: our certificate, and whose certificate the other end must show."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker_gateway.rpc.errors import Code, RpcError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `ca` signs the workers' certificates."""

    cert: Path
    key: Path
    ca: Path


class ClientTls:
    """Makes a context for each connection from the files as they are then: certificates are renewed under way."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files

    def context(self) -> ssl.SSLContext:
        """For one connection. Raises RpcError if a file is missing or no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # workers are known by their identity, not by a name in DNS
        context.set_alpn_protocols(["h2"])
        try:
            context.load_verify_locations(self._files.ca)
            context.load_cert_chain(self._files.cert, self._files.key)
        except (OSError, ssl.SSLError) as error:
            raise RpcError(Code.UNAUTHENTICATED, f"our certificate cannot be used: {error}") from None
        return context


def check_identity(certificate: Any, identity: str) -> None:
    """Raise RpcError unless the certificate, as `ssl` gives it, has the SPIFFE id; any will do for ""."""
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "URI"]
    if identity and identity not in names:
        raise RpcError(Code.UNAUTHENTICATED, f"its certificate is not that of {identity}")

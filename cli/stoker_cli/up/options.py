"""What `stoker up` is asked for, checked before anything is started."""

import errno
import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from stoker_cli.errors import BadInput


@dataclass(frozen=True, slots=True)
class UpOptions:
    """One `stoker up`. `usage_file` and `log_file` None: in the state folder."""

    model: Path | None
    model_id: str | None
    aliases: tuple[str, ...]
    host: str
    port: int
    workers: int
    precision: str
    keys: Path | None
    usage_file: Path | None
    log_file: Path | None
    state_dir: Path
    otlp_endpoint: str | None

    @property
    def url(self) -> str:
        """Where a client on this machine finds the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host) or (
            f"[{self.host}]" if ":" in self.host else self.host
        )
        return f"http://{host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Only this machine can connect to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, keys: Path | None) -> None:
    """Raises BadInput for an address that others can reach without a file of keys, and for a file that is missing."""
    if keys is None and not is_loopback(host):
        raise BadInput(
            f"anyone who reaches {host} could use the models: make a key with "
            "`stoker keys add --file keys.json` and start with --keys keys.json, or leave --host out"
        )
    if keys is not None and not keys.is_file():
        raise BadInput(f"{keys} does not exist; make a key with `stoker keys add --file {keys}`")


def free_port(host: str, port: int) -> int:
    """`port`, or one that is free now if it is 0. Raises BadInput if it cannot be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        if isinstance(error, socket.gaierror):
            raise BadInput(f"--host {host} is no address of this machine: {error.strerror}") from None
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise BadInput(f"port {port} on {host} {reason}; choose another with --port") from None

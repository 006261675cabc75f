"""The gRPC servers' sockets: bound before anything slow begins, so that a busy address is told at once."""

import socket
from collections.abc import Callable
from pathlib import Path

import grpc

from stoker_worker.errors import SettingsError
from stoker_worker.service.certificates import server_credentials
from stoker_worker.settings import Address, WorkerSettings

OPTIONS = (
    ("grpc.so_reuseport", 0),  # two workers on one port would each get some of the streams
    ("grpc.max_receive_message_length", 64 << 20),  # a gateway sends several prompts in one message
    ("grpc.keepalive_time_ms", 10_000),  # a gateway whose machine is gone frees its requests' blocks
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class Listeners:
    """The main server, and the health port's if one is wanted.

    port  of the main server, chosen by the system if 0 was asked for; None for a Unix socket
    """

    def __init__(self, settings: WorkerSettings) -> None:
        """Bind. Raises SettingsError if an address or a certificate cannot be used."""
        self.main = grpc.aio.server(options=OPTIONS)
        self.port: int | None = None
        self.health: grpc.aio.Server | None = None
        if settings.tls:
            credentials = server_credentials(settings.tls)
            port = _bind(settings.listen, lambda target: self.main.add_secure_port(target, credentials))
        else:
            port = _bind(settings.listen, self.main.add_insecure_port)
        self.port = None if settings.listen.path else port
        if settings.health_listen:
            self.health = grpc.aio.server(options=OPTIONS)
            _bind(settings.health_listen, self.health.add_insecure_port)

    @property
    def all(self) -> list[grpc.aio.Server]:
        """Every server, the main one first."""
        return [self.main, self.health] if self.health else [self.main]

    async def start(self) -> None:
        """Answer from now on."""
        for server in self.all:
            await server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, give those that run so long, then break them off."""
        for server in self.all:
            await server.stop(grace_s)


def _bind(address: Address, add_port: Callable[[str], int]) -> int:
    if address.path:
        _check_socket_path(address.path)
    try:
        port = add_port(str(address))
    except RuntimeError:
        raise SettingsError(f"cannot listen on {address}: it is in use or not this machine's") from None
    if address.path:
        address.path.chmod(0o700)
    return port


def _check_socket_path(path: Path) -> None:
    """Refuse what gRPC would not: it takes the place of a socket that another process serves."""
    if not path.parent.is_dir():
        raise SettingsError(f"{path.parent} does not exist; make it, with mode 0700, before the socket")
    if path.exists() and not path.is_socket():
        raise SettingsError(f"{path} exists and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return
    raise SettingsError(f"another process serves {path}; stop it or choose another path")

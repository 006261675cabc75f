"""The server process: a socket, an event loop, a gateway; then an orderly end."""

import asyncio
import errno
import gc
import logging
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import uvicorn
import uvloop

from stoker_gateway.app import App
from stoker_gateway.connection import Connection
from stoker_gateway.errors import SettingsError
from stoker_gateway.gateway import Gateway
from stoker_gateway.settings import Settings
from stoker_gateway.socket_exchange import CLOSE
from stoker_gateway.workers.texts import TextStore

BACKLOG = 2048
KEEP_ALIVE_S = 75
LEAVE_S = 3.0  # how long a stopping server asks clients to connect elsewhere
GC_THRESHOLDS = (50_000, 20, 50)

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then let requests finish. Raises SettingsError before anything is served."""
    listener = bind(settings.host, settings.port)
    uvloop.run(_serve(settings, listener))


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError if the address is taken or not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        hint = "; another server has this port: stop it, or choose another" if error.errno == errno.EADDRINUSE else ""
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}{hint}") from None
    listener.listen(BACKLOG)
    return listener


async def _serve(settings: Settings, listener: socket.socket) -> None:
    async with Gateway(settings, TextStore()) as gateway:
        server = make_server(App(gateway), settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        _calm_gc()
        log.info("listening on %s:%d", settings.host, listener.getsockname()[1])
        await server.serve(sockets=[listener])
    log.info("stopped")


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which would end the process before usage is safe."""

    _leave_at_s: float | None = None  # on the loop's clock

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals alone."""
        yield

    def stop(self) -> None:
        """Send clients elsewhere for a moment, then accept no more and let requests finish; at once when called again.

        Whoever uses a connection in that moment is answered, and told that it closes: a connection that is closed without a
        word may have the client's next request on its way already, which then fails.
        """
        if self._leave_at_s is not None or not self.started:
            self.force_exit = self.should_exit = True
            return
        self._leave_at_s = asyncio.get_running_loop().time() + LEAVE_S
        self.config.encoded_headers = [*self.config.encoded_headers, CLOSE]
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]

    async def on_tick(self, counter: int) -> bool:
        """Part of uvicorn.Server: ten times a second; returns whether to stop."""
        if self._leave_at_s is not None:
            nobody = not self.server_state.connections
            self.should_exit |= nobody or asyncio.get_running_loop().time() >= self._leave_at_s
        return await super().on_tick(counter)


def make_server(app: App, settings: Settings) -> Server:
    """A server for `app`. Nothing of a request is logged."""
    connection = partial(Connection, hot=app.hot, receive_timeout_s=settings.limits.receive_timeout_s)
    config = uvicorn.Config(
        app.rest,
        http=connection,  # type: ignore[arg-type]  # it is called like the class that is meant
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.limits.drain_timeout_s)),
    )
    return Server(config)


def _calm_gc() -> None:
    """What exists now lives as long as the process; look for cycles rarely, requests make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

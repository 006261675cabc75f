"""Where gateways tell their demand: gRPC under mutual TLS, served while this process leads."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import grpc

from stoker.operator.v1 import demand_pb2 as pb
from stoker.operator.v1.demand_pb2_grpc import DemandServicer, add_DemandServicer_to_server
from stoker_core.identity import GATEWAY, OPERATOR
from stoker_operator.api.deployment import Demand
from stoker_operator.demand.book import DemandBook
from stoker_operator.pki.authority import Authority

LIFETIME = dt.timedelta(days=30)
RENEW_AFTER = dt.timedelta(days=15)
KEEPALIVE = (("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000), ("grpc.so_reuseport", 0))


class DemandService(DemandServicer):
    """Writes what it hears into the book."""

    def __init__(self, book: DemandBook) -> None:
        self._book = book
        self._streams = count(1)

    async def Report(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.DemandReceipt]:  # noqa: N802
        """One gateway, until it is gone."""
        if GATEWAY.encode() not in context.auth_context().get("peer_spiffe_id", []):
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"this needs a client certificate with the URI {GATEWAY}"
            )
        stream = next(self._streams)
        try:
            async for report in request_iterator:
                self._book.hear(stream, {one.deployment_uid: _demand(one) for one in report.deployments})
        finally:
            self._book.lost(stream)
        yield pb.DemandReceipt()


@asynccontextmanager
async def serving(
    listen: tuple[str, int], authority: Authority, book: DemandBook, now: Callable[[], dt.datetime]
) -> AsyncIterator[int]:
    """Serve as long as the context lasts; yields the port. Raises RuntimeError if the address is taken."""
    server = grpc.aio.server(options=KEEPALIVE)
    add_DemandServicer_to_server(DemandService(book), server)
    host, port = listen
    bound = server.add_secure_port(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}", _credentials(authority, now)
    )
    await server.start()
    try:
        yield bound
    finally:
        await asyncio.shield(server.stop(0))


def _credentials(authority: Authority, now: Callable[[], dt.datetime]) -> grpc.ServerCredentials:
    """A certificate that never leaves this process; connections that begin late in its life get a new one."""
    made_at = now()

    def configuration() -> Any:
        pair = authority.issue(OPERATOR, server=True, now=now(), lifetime=LIFETIME)
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.cert)], root_certificates=authority.pem)

    def renewed() -> Any:
        nonlocal made_at
        if now() - made_at < RENEW_AFTER:
            return None
        made_at = now()
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), renewed, require_client_authentication=True)


def _demand(told: pb.DeploymentDemand) -> Demand:
    return Demand(held=told.held, in_flight=told.in_flight, oldest_ms=told.oldest_ms)

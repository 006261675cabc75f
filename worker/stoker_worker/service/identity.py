"""Who may call what: under mutual TLS a peer's certificate names its role as a SPIFFE id."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Protocol

from stoker_core import identity


class Role(StrEnum):
    """What a peer may be, by its certificate."""

    GATEWAY = identity.GATEWAY
    OPERATOR = identity.OPERATOR


class PeerContext(Protocol):
    """The part of gRPC's servicer context that tells who calls."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What the handshake proved."""
        ...


class Guard:
    """Lets a role in. Without TLS nobody else can reach the socket, and everyone who can is let in."""

    def __init__(self, *, enforced: bool) -> None:
        self._enforced = enforced

    def refusal(self, context: PeerContext, role: Role) -> str | None:
        """Why the peer is not let in, or None if it is."""
        if not self._enforced or role.encode() in context.auth_context().get("peer_spiffe_id", []):
            return None
        return f"this needs a client certificate with the URI {role}"

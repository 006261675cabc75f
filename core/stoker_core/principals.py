"""Who a request belongs to."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do."""

    INFERENCE = "inference"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The answer to "who asks": made at the edge for every request, in every mode.

    Everything stored carries `account`, and every look-up filters by it.
    """

    account: str
    key_id: str
    scopes: frozenset[Scope] = frozenset({Scope.INFERENCE})


# On a loopback address nobody needs a key: whoever can connect owns the machine's session.
LOCAL = Principal(account="local", key_id="loopback", scopes=frozenset(Scope))

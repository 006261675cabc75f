"""Which endpoint gets a request: bounded-load rendezvous hashing on the prompt's early prefix-chain keys.

Requests that begin alike prefer the same endpoint, whose prefix cache then helps; gateways agree on it without shared
state; and no endpoint gets more than LOAD_FACTOR times the mean (Mirrokni et al., "Consistent Hashing with Bounded Loads").
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from stoker_core.blocks import chain, chain_root
from stoker_gateway.routing.table import Endpoint, ModelEntry, Variant

LOAD_FACTOR = 1.25
EARLY_UNITS = 8  # of 16 tokens: covers a system prompt, and stays the same while a conversation grows


@dataclass(frozen=True, slots=True)
class Load:
    """What is known about one endpoint now. `in_flight` counts requests, this gateway's and those the worker reports."""

    ready: bool = False
    in_flight: int = 0


Loads = Mapping[Endpoint, Load]
NOT_READY = Load()


def routing_key(token_ids: Sequence[int], salt: bytes) -> bytes:
    """Names the beginning of a prompt; equal for prompts whose first EARLY_UNITS units (or all, if fewer) are equal."""
    root = chain_root(salt)
    return [root, *islice(chain(token_ids, root), EARLY_UNITS)][-1]


def choose_variant(entry: ModelEntry, loads: Loads) -> Variant:
    """The revision to answer with, of one entry that has any: the newest that has a ready endpoint, else the newest."""
    for variant in entry.variants:
        if any(loads.get(endpoint, NOT_READY).ready for endpoint in variant.endpoints):
            return variant
    return entry.variants[0]


def choose(
    endpoints: Sequence[Endpoint], key: bytes, loads: Loads, *, excluded: Collection[str] = (), region: str = ""
) -> Endpoint | None:
    """The endpoint for a request, or None if none is ready.

    endpoints  of one Variant
    key        see `routing_key`
    excluded   addresses that have failed or refused this request
    region     preferred while it has a ready endpoint
    """
    ready = [e for e in endpoints if e.address not in excluded and loads.get(e, NOT_READY).ready]
    near = [e for e in ready if e.region == region] or ready
    if len(near) < 2:
        return near[0] if near else None
    total = sum(loads[e].in_flight for e in near) + 1
    bound = math.ceil(LOAD_FACTOR * total / len(near))
    ranked = sorted(near, key=lambda e: _weight(key, e.address), reverse=True)
    return next((e for e in ranked if loads[e].in_flight < bound), ranked[0])


def _weight(key: bytes, address: str) -> bytes:
    return blake2b(address.encode(), digest_size=8, key=key).digest()

"""The prefix-cache chain: names for runs of prompt tokens that gateway and worker compute alike.

The unit is 16 tokens. Key i is a digest of key i-1, the unit's token ids, and whatever else its KV depends on (an adapter,
a medium), so that equal keys mean equal keys and values for the whole prefix. A KV page of 16·n tokens uses every n-th key.
"""

from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b

CHAIN_UNIT = 16  # tokens
KEY_BYTES = 16


def chain_root(salt: bytes = b"", adapter_digest: bytes = b"") -> bytes:
    """The key before the first unit. Different salts or adapters never share a block."""
    parts = b"%d:%b%d:%b" % (len(salt), salt, len(adapter_digest), adapter_digest)
    return blake2b(parts, digest_size=KEY_BYTES, person=b"stoker-chain").digest()


def chain_step(previous: bytes, token_ids: Sequence[int], extra: bytes = b"") -> bytes:
    """The key of one full unit.

    previous   the key of the unit before, or `chain_root`
    token_ids  CHAIN_UNIT token ids
    extra      digests of media whose placeholders begin in this unit
    """
    packed = array("I", token_ids).tobytes()
    return blake2b(previous + packed + extra, digest_size=KEY_BYTES).digest()


def chain(token_ids: Sequence[int], root: bytes) -> Iterator[bytes]:
    """Yield the key of each full unit of `token_ids`; a partial last unit has none."""
    key = root
    for start in range(0, len(token_ids) - CHAIN_UNIT + 1, CHAIN_UNIT):
        key = chain_step(key, token_ids[start : start + CHAIN_UNIT])
        yield key

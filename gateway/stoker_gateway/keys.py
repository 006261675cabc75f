"""The file of API keys: sha256 hashes only, written whole, mode 0600."""

import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from stoker_core.principals import Principal, Scope
from stoker_gateway.errors import SettingsError

KEY_PREFIX = "sk-stoker-"


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key as stored. `sha256` is the hex digest of the key itself."""

    id: str
    account: str
    sha256: str
    created_unix_s: int
    scopes: tuple[Scope, ...] = (Scope.INFERENCE,)
    revoked: bool = False


class KeyDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    keys: tuple[KeyRecord, ...] = ()


_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Who each key belongs to. `entries`: start of the key's sha256 → (sha256, principal) of each key with that start."""

    entries: dict[bytes, list[tuple[bytes, Principal]]]

    @classmethod
    def of(cls, records: Iterable[KeyRecord]) -> "KeyRing":
        """A ring of the records that are not revoked. Raises ValueError for a hash that is none."""
        entries: dict[bytes, list[tuple[bytes, Principal]]] = {}
        for record in records:
            if not record.revoked:
                digest = bytes.fromhex(record.sha256)
                principal = Principal(record.account, record.id, frozenset(record.scopes))
                entries.setdefault(digest[:_PREFIX_BYTES], []).append((digest, principal))
        return cls(entries)

    def find(self, digest: bytes) -> Principal | None:
        """The principal of a key by the sha256 of the key; the time it takes tells nothing about the rest of a hash."""
        for known, principal in self.entries.get(digest[:_PREFIX_BYTES], ()):
            if hmac.compare_digest(known, digest):
                return principal
        return None


def load(path: Path) -> KeyDocument:
    """Read a file of keys. Raises SettingsError if it is missing or broken."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=KeyDocument)
        KeyRing.of(document.keys)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; make one with `keys add --file {path}`") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise SettingsError(f"{path}: not a file of keys; make one with `keys add`") from None
    return document


def add(document: KeyDocument, account: str, now_unix_s: int, scopes: tuple[Scope, ...]) -> tuple[KeyDocument, str]:
    """The document with a new key, and the key itself, which is stored nowhere."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    record = KeyRecord(secrets.token_hex(6), account, sha256(key.encode()).hexdigest(), now_unix_s, scopes)
    return KeyDocument((*document.keys, record)), key


def revoke(document: KeyDocument, key_id: str) -> KeyDocument:
    """The document with one key revoked. Raises SettingsError if there is none of that id."""
    if key_id not in {record.id for record in document.keys}:
        raise SettingsError(f"no key has the id {key_id!r}; `keys list` shows them")
    return KeyDocument(
        tuple(
            msgspec.structs.replace(record, revoked=True) if record.id == key_id else record for record in document.keys
        )
    )


def save(path: Path, document: KeyDocument) -> None:
    """Replace the file as a whole, readable by its owner only. Raises SettingsError if it cannot be written."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mkstemp makes it 0600
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)

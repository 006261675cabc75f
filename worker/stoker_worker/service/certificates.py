"""Mutual TLS whose files may change under way: a renewed certificate or another authority counts from the next connection."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from stoker_worker.errors import SettingsError
from stoker_worker.settings import Tls

log = logging.getLogger(__name__)

# Which bytes a path names: another inode, length or time of change means other bytes.
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Pem:
    """What the three files hold, of one moment and fitting together."""

    cert: bytes
    key: bytes
    ca: bytes

    def for_grpc(self) -> grpc.ServerCertificateConfiguration:
        """The same, as gRPC takes it."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.cert)], root_certificates=self.ca)


def server_credentials(tls: Tls) -> grpc.ServerCredentials:
    """Mutual TLS that follows the files: gRPC asks `Reloader` at each handshake. Raises SettingsError if they cannot be used.

    Streams that run are not touched. New handshakes see a changed authority at once: with the old one's context, gRPC
    throws away the session tickets that could have gone around it.
    """
    reloader = Reloader(tls)
    return grpc.dynamic_ssl_server_credentials(
        reloader.current.for_grpc(),
        reloader.changed,  # type: ignore[arg-type]  # the stubs forget that None means "no change"
        require_client_authentication=True,
    )


class Reloader:
    """Remembers what is in use. Called on gRPC's threads, one at a time under the interpreter's lock.

    current  the certificates in use
    """

    def __init__(self, tls: Tls) -> None:
        """Raises SettingsError if the files cannot be used."""
        self._tls = tls
        self._seen = _stamp(tls)
        self.current = read(tls)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """New certificates, or None to go on with those in use; files that cannot be used are logged once."""
        try:
            stamp = _stamp(self._tls)
            if stamp == self._seen:
                return None
            pem = read(self._tls)
            # Replaced while they were read: these may be two generations' files. The next handshake sees them whole.
            if _stamp(self._tls) != stamp:
                return None
        except SettingsError as error:
            self._refuse(error)
            return None
        return self._take(stamp, pem)

    def _take(self, stamp: Stamp, pem: Pem) -> grpc.ServerCertificateConfiguration | None:
        self._seen = stamp
        if pem == self.current:
            return None
        self.current = pem
        log.info("TLS: new certificates from %s are in use", self._tls.cert.parent)
        return pem.for_grpc()

    def _refuse(self, error: SettingsError) -> None:
        stamp = _stamp_if_there(self._tls)
        if stamp != self._seen:
            log.error("TLS: %s; connections go on with the certificates of before", error)
        self._seen = stamp


def read(tls: Tls) -> Pem:
    """The files, checked: the key belongs to the certificate, the authority is one. Raises SettingsError."""
    try:
        pem = Pem(*(path.read_bytes() for path in (tls.cert, tls.key, tls.ca)))
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    _check(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls, pem)
    return pem


def _check(context: ssl.SSLContext, tls: Tls, pem: Pem) -> None:
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{tls.cert} and {tls.key} are no certificate and its own private key ({_reason(error)})"
        ) from None
    try:
        context.load_verify_locations(cadata=pem.ca.decode("ascii"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{tls.ca} holds no certificate authority ({_reason(error)})") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)


def _stamp(tls: Tls) -> Stamp:
    """Raises SettingsError if a file is missing."""
    try:
        return tuple(_one(path) for path in (tls.cert, tls.key, tls.ca))
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None


def _stamp_if_there(tls: Tls) -> Stamp:
    """Equal for equal trouble: a missing file counts as zeros."""
    return tuple(_one(path) if path.exists() else (0, 0, 0) for path in (tls.cert, tls.key, tls.ca))


def _one(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns

"""Ids of requests, and which of a client's headers are taken over."""

import re
import secrets

_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def new_id(prefix: str) -> str:
    """An id that no other request has: a prefix like `chatcmpl-` and 96 random bits."""
    return prefix + secrets.token_hex(12)


def echoed(client_id: bytes | None, ours: str) -> bytes:
    """The `x-request-id` to answer with: the client's, if it is short and printable, else ours."""
    return client_id if client_id is not None and _ID.fullmatch(client_id) else ours.encode()


def traceparent(header: bytes | None) -> str:
    """The client's W3C trace context, "" if there is none or it is malformed."""
    text = header.decode("latin-1") if header else ""
    return text if _TRACEPARENT.fullmatch(text) else ""

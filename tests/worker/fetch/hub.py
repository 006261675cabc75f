"""A hub that speaks what huggingface_hub asks for, and a CDN of another origin that it sends people to.

GET /api/models/OWNER/NAME/revision/REVISION?blobs=true   the files, with sizes and digests
GET /OWNER/NAME/resolve/COMMIT/FILE                       small files, and redirects to the CDN for those in LFS
GET /FILE?Signature=…                                     of the CDN: ranges, ETags
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tests.worker.fetch.faults import Cut, Faults, Refuse, Whole

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SIGNATURE = "cdn-signature-of-the-day"
LFS = (".safetensors", ".gguf", ".bin")
API = "/api/models/"


@dataclass
class Hub:
    """One repository. `files` may hold paths instead of bytes.

    token      if given, what every request to the hub (and none to the CDN) must bring
    lies       sizes that the hub tells, where they are not the truth
    """

    files: dict[str, bytes | Path] = field(default_factory=dict)
    repo: str = "owner/name"
    revisions: tuple[str, ...] = ("main", COMMIT)
    token: str = ""
    gated: bool = False
    lies: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    url: str = ""
    cdn_url: str = ""

    def data(self, name: str) -> bytes:
        content = self.files[name]
        return content.read_bytes() if isinstance(content, Path) else content

    def listing(self) -> dict[str, Any]:
        return {"id": self.repo, "sha": COMMIT, "siblings": [self._sibling(name) for name in self.files]}

    def _sibling(self, name: str) -> dict[str, Any]:
        data = self.data(name)
        size = self.lies.get(name, len(data))
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        found: dict[str, Any] = {"rfilename": name, "size": size, "blobId": self.digests.get(name, blob)}
        if name.endswith(LFS):
            digest = self.digests.get(name, hashlib.sha256(data).hexdigest())
            found["lfs"] = {"sha256": digest, "size": size, "pointerSize": 134}
        return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def refuse(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
        body = b'{"error": "no"}'
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give(self, name: str, key: str) -> None:
        fault = self.hub.faults.take(key, dict(self.headers))
        if isinstance(fault, Refuse):
            self.refuse(fault.status, fault.code, fault.headers)
            return
        data = self.hub.data(name)
        first = 0 if isinstance(fault, Whole) else self.first()
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        try:
            for piece in self.hub.faults.body(key, data[first:], fault):
                self.wfile.write(piece)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if isinstance(fault, Cut | Whole):
            self.close_connection = True

    def first(self) -> int:
        text = self.headers.get("Range", "")
        return int(text.removeprefix("bytes=").partition("-")[0]) if text else 0


class HubHandler(Handler):
    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith(API):
            self.api(path.removeprefix(API))
        else:
            repo, _, rest = path[1:].partition("/resolve/")
            self.resolve(repo, *rest.partition("/")[::2])

    def allowed(self) -> bool:
        if self.hub.gated:
            self.refuse(403, "GatedRepo")
            return False
        given = self.headers.get("Authorization", "")
        if self.hub.token and given != f"Bearer {self.hub.token}":
            said = {"X-Error-Message": "Invalid credentials in Authorization header"} if given else {}
            self.refuse(401, "" if given else "RepoNotFound", said)
            return False
        return True

    def api(self, path: str) -> None:
        repo, _, revision = path.partition("/revision/")
        fault = self.hub.faults.take("api", dict(self.headers))
        if isinstance(fault, Refuse):
            self.refuse(fault.status, fault.code, fault.headers)
        elif not self.allowed():
            return
        elif repo != self.hub.repo:
            self.refuse(404, "RepoNotFound")
        elif revision not in self.hub.revisions:
            self.refuse(404, "RevisionNotFound")
        else:
            body = json.dumps(self.hub.listing()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def resolve(self, repo: str, commit: str, name: str) -> None:
        if not self.allowed():
            return
        if (repo, commit) != (self.hub.repo, COMMIT) or name not in self.hub.files:
            self.refuse(404, "EntryNotFound")
        elif name.endswith(LFS):
            target = f"{self.hub.cdn_url}/{quote(name)}?Signature={SIGNATURE}"
            self.refuse(302, headers={"Location": target, "X-Linked-ETag": "x"})
        else:
            self.give(name, name)


class CdnHandler(Handler):
    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.query != f"Signature={SIGNATURE}":
            self.refuse(403)
        else:
            name = unquote(path.path[1:])
            self.give(name, name)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Clients that are killed leave their connections."""


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    servers = []
    for base in (HubHandler, CdnHandler):
        handler = type(base.__name__, (base,), {"hub": hub})
        servers.append(Server(("127.0.0.1", 0), handler))
    hub.url, hub.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

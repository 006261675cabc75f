"""How far a fetch has come: counted, said in lines at a calm pace, served as JSON."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic

from stoker_worker.errors import SettingsError
from stoker_worker.fetch.folder import in_units
from stoker_worker.settings import Address

LINE_EVERY_S = 10.0
# A client that says nothing keeps the others waiting no longer than this.
CLIENT_S = 2.0


class Progress:
    """Counters that every thread adds to. Before the files are known all are 0."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {"bytes": 0, "total_bytes": 0, "files_done": 0, "files": 0}

    def plan(self, total_bytes: int, files: int) -> None:
        """What is to come."""
        with self._lock:
            self._counts |= {"total_bytes": total_bytes, "files": files}

    def add(self, count: int) -> None:
        """Bytes that are on the disk now; fewer than 0: had to be thrown away."""
        with self._lock:
            self._counts["bytes"] += count

    def file_done(self) -> None:
        """One more was checked."""
        with self._lock:
            self._counts["files_done"] += 1

    def counts(self) -> dict[str, int]:
        """bytes, total_bytes, files_done, files."""
        with self._lock:
            return dict(self._counts)


def line(counts: dict[str, int], bytes_per_s: float) -> str:
    """For people: "3.1 of 15 GB (20 %), 2 of 9 files, 210 MB/s"."""
    share = 100 * counts["bytes"] // max(counts["total_bytes"], 1)
    files = f"{counts['files_done']} of {counts['files']} files"
    amount = f"{in_units(counts['bytes'])} of {in_units(counts['total_bytes'])} ({share} %)"
    return f"{amount}, {files}, {in_units(int(bytes_per_s))}/s"


@contextmanager
def saying(progress: Progress, say: Callable[[str], None], every_s: float = LINE_EVERY_S) -> Iterator[None]:
    """A line every so often, while inside."""
    ended = threading.Event()

    def report() -> None:
        before, then = progress.counts()["bytes"], monotonic()
        while not ended.wait(every_s):
            counts, now = progress.counts(), monotonic()
            say(line(counts, max(0, counts["bytes"] - before) / (now - then)))
            before, then = counts["bytes"], now

    thread = threading.Thread(target=report, name="progress lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def serving(progress: Progress, address: Address | None) -> Iterator[int]:
    """GET /progress at that address, while inside; the port, or 0 without an address. Raises SettingsError."""
    if address is None:
        yield 0
        return
    server = _bound(progress, address)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="progress", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _bound(progress: Progress, address: Address) -> HTTPServer:
    class Server(HTTPServer):
        address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET

    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_S

        def do_GET(self) -> None:
            known = self.path == "/progress"
            body = json.dumps(progress.counts()).encode() if known else b"GET /progress\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json" if known else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Said by nobody: one poll is like the next."""

    try:
        return Server((address.host, address.port), Handler)
    except OSError as error:
        raise SettingsError(f"--progress-listen: cannot listen on {address}: {error.strerror}") from None

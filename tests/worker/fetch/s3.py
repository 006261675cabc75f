"""moto's S3 service on this machine, behind a layer that counts, and breaks what a test wants broken."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.session import Session
from moto.server import DomainDispatcherApplication, create_backend_app
from tests.worker.fetch.faults import Faults, Refuse
from werkzeug.serving import WSGIRequestHandler, make_server

KEY, SECRET = "AKIATHISKEYISKNOWN00", "aSecretThatNobodyMayEverSeeInALine000000"
BUCKET = "weights"
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{secret}</Message></Error>"


class Quiet(WSGIRequestHandler):
    """werkzeug's, without a line per request."""

    def log(self, *_: object) -> None:
        """Nothing."""


@dataclass
class S3:
    """The service. `listed`: the query of each listing that was asked for."""

    url: str = ""
    closed: bool = False
    faults: Faults = field(default_factory=Faults)
    listed: list[str] = field(default_factory=list)

    @cached_property
    def client(self) -> Any:
        return Session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )

    def put(self, key: str, data: bytes, **further: str) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data, **further)

    def begin_anew(self) -> None:
        """An empty bucket, no faults."""
        self.closed, self.faults = False, Faults()
        self.listed.clear()
        for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
            self.client.delete_object(Bucket=BUCKET, Key=item["Key"])
        self.listed.clear()

    def layer(self, app: Any) -> Callable[..., Any]:
        """WSGI around the service: only reads of objects are tampered with."""

        def serve(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            key = environ["PATH_INFO"].removeprefix(f"/{BUCKET}").lstrip("/")
            if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
                return app(environ, start)
            if self.closed and f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
                return self._refuse(start, Refuse(403, code="AccessDenied"))
            if environ["REQUEST_METHOD"] == "HEAD":
                return app(environ, start)
            if "list-type" in environ["QUERY_STRING"]:
                self.listed.append(environ["QUERY_STRING"])
            asked = {"range": environ["HTTP_RANGE"]} if "HTTP_RANGE" in environ else {}
            fault = self.faults.take(key, asked)
            if isinstance(fault, Refuse):
                return self._refuse(start, fault)
            return self.faults.body(key, b"".join(app(environ, start)), fault)

        return serve

    def _refuse(self, start: Callable[..., Any], fault: Refuse) -> list[bytes]:
        body = ERROR.format(code=fault.code, secret=SECRET).encode()
        start(f"{fault.status} no", [*fault.headers.items(), ("Content-Length", str(len(body)))])
        return [body]


@contextmanager
def running() -> Iterator[S3]:
    service = S3()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, service.layer(app), threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        service.client.create_bucket(Bucket=BUCKET)
        yield service
        service.begin_anew()
        service.client.delete_bucket(Bucket=BUCKET)
        service.client.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

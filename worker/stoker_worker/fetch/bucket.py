"""Folders of S3 buckets, through botocore."""

import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
from botocore.exceptions import ConnectionError as NoConnection
from botocore.session import Session

from stoker_worker.errors import FetchInterrupted, SourceError
from stoker_worker.fetch.digests import Digest, Kind
from stoker_worker.fetch.settings import GGUF, BucketSource, Credentials
from stoker_worker.fetch.store import CHUNK_BYTES, CONNECT_S, READ_S, Answer, Listing, RemoteFile, first_byte

# A model has hundreds of files at most; a bucket given by mistake has millions.
MOST_FILES = 10_000
PASSING_CODES = frozenset({"SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable", "Throttling"})
NOT_OPEN = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})
CHANGED = frozenset({"412", "PreconditionFailed"})

_PLAIN_ETAG = re.compile(r'"?([0-9a-f]{32})"?')
_PARTS_ETAG = re.compile(r'"?([0-9a-f]{32}-(\d+))"?')


class BucketStore:
    """A Store."""

    def __init__(
        self, source: BucketSource, endpoint: str, region: str, credentials: Credentials, connections: int
    ) -> None:
        self._source = source
        self._has_credentials = bool(credentials.access_key_id)
        self._client = _client(endpoint, region, credentials, connections)

    def listing(self) -> Listing:
        """See Store; asks for nothing outside of the folder."""
        if self._source.prefix.endswith(GGUF):
            return self._alone()
        folder = f"{self._source.prefix}/" if self._source.prefix else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._source.bucket, Prefix=folder)
        files: dict[str, RemoteFile] = {}
        with self._translated():
            for page in pages:
                for item in page.get("Contents", ()):
                    name = item["Key"].removeprefix(folder)
                    # Consoles make objects that end with a slash, to show as folders.
                    if not item["Key"].endswith("/"):
                        files[name] = RemoteFile(name, item["Size"], Digest(Kind.SIZE), item["ETag"])
                if len(files) > MOST_FILES:
                    raise SourceError(f"{self._source} holds more than {MOST_FILES} objects: name the model's folder")
        if not files:
            raise SourceError(f"{self._source} holds nothing: name the folder that the model's files lie in")
        return Listing(files)

    def pinned(self, file: RemoteFile) -> RemoteFile:
        """See Store. SHA-256 where the object was stored with it, else what its ETag tells."""
        head = self._head(file.name, ChecksumMode="ENABLED")
        size, etag = int(head["ContentLength"]), str(head["ETag"])
        return RemoteFile(file.name, size, self._digest(file.name, size, etag, head), etag)

    @contextmanager
    def reading(self, file: RemoteFile, first: int) -> Iterator[Answer]:
        """See Store. An object that was replaced meanwhile is not mixed with the one before."""
        further: dict[str, Any] = {"Range": f"bytes={first}-"} if first else {}
        with self._translated():
            got = self._client.get_object(**self._object(file.name), IfMatch=file.etag, **further)
            status = int(got["ResponseMetadata"]["HTTPStatusCode"])
            begins = first_byte(status, got.get("ContentRange", ""), first)
            if begins is None:
                raise FetchInterrupted(f"bytes from {first} on were asked for, others were answered")
            with closing(got["Body"]) as body:
                yield Answer(begins, body.iter_chunks(CHUNK_BYTES))

    def _alone(self) -> Listing:
        name = self._source.prefix.rpartition("/")[2]
        head = self._head(name)
        return Listing({name: RemoteFile(name, int(head["ContentLength"]), Digest(Kind.SIZE), str(head["ETag"]))})

    def _head(self, name: str, **further: Any) -> Any:
        with self._translated():
            return self._client.head_object(**self._object(name), **further)

    def _object(self, name: str) -> dict[str, str]:
        prefix = self._source.prefix
        folder = prefix.rpartition("/")[0] if prefix.endswith(GGUF) else prefix
        return {"Bucket": self._source.bucket, "Key": f"{folder}/{name}" if folder else name}

    def _digest(self, name: str, size: int, etag: str, head: Any) -> Digest:
        checksum = head.get("ChecksumSHA256", "")
        if checksum and "-" not in checksum:
            return Digest(Kind.SHA256, b64decode(checksum).hex())
        # Encrypted with keys of the owner's, an object has an ETag that says nothing of its content.
        if head.get("ServerSideEncryption", "").startswith("aws:kms") or head.get("SSECustomerAlgorithm"):
            return Digest(Kind.SIZE)
        if found := _PLAIN_ETAG.fullmatch(etag):
            return Digest(Kind.MD5, found[1])
        if found := _PARTS_ETAG.fullmatch(etag):
            return self._parts_digest(name, size, found[1], int(found[2]))
        return Digest(Kind.SIZE)

    def _parts_digest(self, name: str, size: int, value: str, parts: int) -> Digest:
        """Of an upload in parts of one length, which the first part tells; others say nothing that can be checked."""
        try:
            part_bytes = int(self._head(name, PartNumber=1)["ContentLength"])
        except SourceError:
            return Digest(Kind.SIZE)
        fits = part_bytes > 0 and -(-size // part_bytes) == parts
        return Digest(Kind.MD5_PARTS, value, part_bytes) if fits else Digest(Kind.SIZE)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Their errors → ours."""
        try:
            yield
        except ClientError as error:
            raise self._refused(error) from None
        except (HTTPClientError, NoConnection) as error:
            raise FetchInterrupted(f"the connection failed ({type(error).__name__})") from None
        except ParamValidationError:
            raise SourceError(f"{self._source} is no bucket and folder that S3 could have") from None
        except BotoCoreError as error:
            raise FetchInterrupted(f"the answer broke off or made no sense ({type(error).__name__})") from None

    def _refused(self, error: ClientError) -> Exception:
        answer: Any = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if status >= 500 or status == 429 or code in PASSING_CODES:
            return FetchInterrupted(f"S3 answered {status} ({code})", _retry_after_s(headers))
        if code in CHANGED:
            return FetchInterrupted(f"{self._source} was changed while it was fetched", in_vain=True)
        if code in NOT_OPEN or status in (401, 403):
            return SourceError(f"{self._source} is not open {self._to_whom()} (S3 answered {status} {code})")
        if code == "NoSuchBucket":
            return SourceError(f"there is no bucket {self._source.bucket!r}")
        if status == 404:
            return SourceError(f"{self._source} does not exist, or lost a file")
        return SourceError(f"{self._source}: S3 answered {status} ({code})")

    def _to_whom(self) -> str:
        if self._has_credentials:
            return "to the key in AWS_ACCESS_KEY_ID"
        return "without a key: give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def _client(endpoint: str, region: str, credentials: Credentials, connections: int) -> Any:
    """Credentials are those given or none: a node's own, which its metadata service gives to anyone, are never asked for."""
    config = Config(
        signature_version=None if credentials.access_key_id else UNSIGNED,
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        max_pool_connections=connections,
        retries={"total_max_attempts": 1},
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return Session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint or None,
        aws_access_key_id=credentials.access_key_id or None,
        aws_secret_access_key=credentials.secret_access_key or None,
        aws_session_token=credentials.session_token or None,
        config=config,
    )


def _retry_after_s(headers: Any) -> float | None:
    text = str(headers.get("retry-after", ""))
    return float(text) if text.isdecimal() else None

"""Repositories of a Hugging Face hub, through its own client."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from stoker_worker.errors import FetchInterrupted, SourceError
from stoker_worker.fetch.digests import Digest, Kind
from stoker_worker.fetch.settings import HUB, HubSource
from stoker_worker.fetch.store import CONNECT_S, READ_S, Answer, Listing, RemoteFile, first_byte

CLIENT = "stoker"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class HubStore:
    """A Store. The revision is resolved once, by `listing`; every byte is then asked for by commit."""

    def __init__(self, source: HubSource, endpoint: str, token: str) -> None:
        self._source = source
        self._endpoint = endpoint or HUB
        # False: never one that lies somewhere in the home directory.
        self._token: str | bool = token or False
        self._commit = ""

    def listing(self) -> Listing:
        """See Store."""
        api = HfApi(endpoint=self._endpoint, token=self._token, library_name=CLIENT)
        with self._translated():
            try:
                info = api.model_info(
                    self._source.repo, revision=self._source.revision, files_metadata=True, timeout=READ_S
                )
                files = {item.rfilename: _remote(item) for item in info.siblings or ()}
                self._commit = str(info.sha or self._source.revision)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                if isinstance(error, httpx2.HTTPError):
                    raise
                raise SourceError(f"{self._endpoint} does not answer as a Hugging Face hub does") from None
        return Listing(files, self._commit)

    def pinned(self, file: RemoteFile) -> RemoteFile:
        """See Store; the listing tells all."""
        return file

    @contextmanager
    def reading(self, file: RemoteFile, first: int) -> Iterator[Answer]:
        """See Store. A redirect to another host is followed without the token."""
        url = hf_hub_url(self._source.repo, file.name, revision=self._commit, endpoint=self._endpoint)
        # Bytes as they are stored: what is counted and resumed must be what is on the disk.
        headers = build_hf_headers(token=self._token, library_name=CLIENT) | {"Accept-Encoding": "identity"}
        if first:
            headers["Range"] = f"bytes={first}-"
        timeout = httpx2.Timeout(READ_S, connect=CONNECT_S)
        with self._translated(), get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            begins = first_byte(response.status_code, response.headers.get("Content-Range", ""), first)
            if begins is None:
                raise FetchInterrupted(f"bytes from {first} on were asked for, others were answered")
            # As it comes: what is gathered to larger pieces is lost when the connection breaks.
            yield Answer(begins, response.iter_raw())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Their errors → ours. Texts of theirs hold addresses, signed ones among them, and are not passed on."""
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refused(error) from None
        except httpx2.HTTPError as error:
            raise FetchInterrupted(f"the connection failed ({type(error).__name__})") from None

    def _refused(self, error: HfHubHTTPError) -> Exception:
        status, source = error.response.status_code, self._source
        where = error.response.url.host
        if status in PASSING:
            return FetchInterrupted(f"{where} answered {status}", _retry_after_s(error.response.headers))
        if self._is_elsewhere(error.response):
            # A signed address that ran out; the hub makes a new one.
            return FetchInterrupted(f"{where} answered {status}")
        match error:
            case GatedRepoError():
                return SourceError(
                    f"hf://{source.repo} is gated: accept its conditions on the hub, and give HF_TOKEN of that account"
                )
            case RevisionNotFoundError():
                return SourceError(f"hf://{source.repo} has no revision {source.revision!r}")
            case RepositoryNotFoundError():
                return SourceError(f"hf://{source.repo} does not exist, or is not open {self._to_whom()}")
        if status in (401, 403):
            return SourceError(f"hf://{source.repo} is not open {self._to_whom()} ({where} answered {status})")
        return SourceError(f"hf://{source.repo}: {where} answered {status}")

    def _is_elsewhere(self, response: httpx2.Response) -> bool:
        return response.url.netloc != httpx2.URL(self._endpoint).netloc and response.status_code in (400, 401, 403)

    def _to_whom(self) -> str:
        return "to the token in HF_TOKEN" if self._token else "without a token: give one as HF_TOKEN"


def _remote(item: Any) -> RemoteFile:
    """A file as the hub lists it."""
    if item.lfs:
        return RemoteFile(item.rfilename, int(item.lfs.size), Digest(Kind.SHA256, item.lfs.sha256.lower()))
    return RemoteFile(item.rfilename, int(item.size), Digest(Kind.GIT_SHA1, item.blob_id.lower()))


def _retry_after_s(headers: httpx2.Headers) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None

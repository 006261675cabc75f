"""The text sides of models, fetched once per digest and kept: a request is validated even while no worker is there."""

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.text import TextBundle, bundle_digest
from stoker_gateway.text.errors import TemplateError, TokenizerError
from stoker_gateway.text.model_text import ModelText
from stoker_gateway.text.template_trial import verify_template

if TYPE_CHECKING:  # exists in the type stubs only
    from stoker.worker.v1.worker_pb2_grpc import WorkerAsyncStub

MAX_BUNDLE_BYTES = 256 * 1024 * 1024
FETCH_TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


class TextStore:
    """digest → ModelText. A bundle that is broken or hostile is refused once and remembered as such."""

    def __init__(self, known: Mapping[bytes, ModelText] = MappingProxyType({})) -> None:
        """`known`: text sides that need not be fetched."""
        self._texts: dict[bytes, ModelText | None] = dict(known)
        self._lock = asyncio.Lock()

    def get(self, digest: bytes) -> ModelText | None:
        """The text side of a digest, if it is known and usable."""
        return self._texts.get(digest)

    async def ensure(self, digest: bytes, stub: "WorkerAsyncStub") -> bool:
        """Fetch and try a bundle unless that was done before; whether it is usable. Raises grpc.aio.AioRpcError."""
        async with self._lock:  # several workers bring the same model: load it once
            if digest not in self._texts:
                self._texts[digest] = await _load(await _fetch(digest, stub), digest)
        return self._texts[digest] is not None


async def _fetch(digest: bytes, stub: "WorkerAsyncStub") -> bytes:
    data = bytearray()
    async for chunk in stub.GetTokenizer(pb.GetTokenizerRequest(digest=digest), timeout=FETCH_TIMEOUT_S):
        data += chunk.data
        if len(data) > MAX_BUNDLE_BYTES:
            break
    return bytes(data)


async def _load(data: bytes, digest: bytes) -> ModelText | None:
    if bundle_digest(data) != digest:
        log.error("text bundle %s: the worker sent other bytes than it named; not used", digest.hex()[:12])
        return None
    try:
        bundle = TextBundle.from_bytes(data)
        await verify_template(bundle)
        return await asyncio.to_thread(ModelText.from_bundle, bundle)
    except (TemplateError, TokenizerError, ValueError, KeyError, TypeError) as error:
        log.error("text bundle %s: not used: %s", digest.hex()[:12], error)
        return None

"""The text sides of models, fetched once per digest and kept: a request is validated even while no worker is there."""

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.text import TextBundle, bundle_digest
from stoker_gateway.rpc.channel import Channel
from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.text.errors import TemplateError, TokenizerError
from stoker_gateway.text.model_text import ModelText
from stoker_gateway.text.template_trial import verify_template
from stoker_gateway.workers.methods import GET_TOKENIZER

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

    async def ensure(self, digest: bytes, channel: Channel) -> bool:
        """Fetch and try a bundle unless that was done before; whether it is usable. Raises RpcError, TimeoutError."""
        async with self._lock:  # several workers bring the same model: load it once
            if digest not in self._texts:
                self._texts[digest] = await _load(await _fetch(digest, channel), digest)
        return self._texts[digest] is not None


async def _fetch(digest: bytes, channel: Channel) -> bytes:
    data = bytearray()

    def take(chunk: pb.TokenizerChunk) -> None:
        data.extend(chunk.data)
        if len(data) > MAX_BUNDLE_BYTES:
            raise RpcError(Code.RESOURCE_EXHAUSTED, f"a text bundle has more than {MAX_BUNDLE_BYTES} bytes")

    await channel.ask(GET_TOKENIZER, pb.GetTokenizerRequest(digest=digest), take, FETCH_TIMEOUT_S)
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

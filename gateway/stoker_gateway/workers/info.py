"""From a worker's WorkerInfo to routing endpoints."""

from collections.abc import Iterator

from stoker.worker.v1 import worker_pb2 as pb
from stoker_core.names import ModelRef
from stoker_gateway.routing.table import Endpoint


def endpoints_of(address: str, info: pb.WorkerInfo) -> Iterator[Endpoint]:
    """The engines that generate text and know their model's facts already; others are asked about again when ready."""
    for engine in info.engines:
        if pb.TASK_GENERATE in engine.tasks and engine.tokenizer_digest and engine.context_length:
            yield Endpoint(
                address=address,
                model=ModelRef.parse(engine.model),
                context_length=engine.context_length,
                vocab_size=engine.vocab_size,
                max_logprobs=engine.max_logprobs,
                tokenizer_digest=engine.tokenizer_digest,
                aliases=tuple(engine.aliases),
                region=info.region,
                pool=info.pool,
                tier=info.tier,
                deployment_uid=info.deployment_uid,
                created_unix_s=engine.created_unix_s,
                adapters=frozenset(engine.adapter_digests),
            )

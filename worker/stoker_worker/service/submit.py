"""From the wire's Submit to the engine's: a request that was admitted."""

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import Resumed, SubmitRequest
from stoker_worker.sampling.params import LogprobsParams, SamplingParams


def to_engine(submit: pb.Submit, key: int, max_tokens: int) -> SubmitRequest:
    """The engine's message; `max_tokens` is the admitted limit."""
    return SubmitRequest(
        key=key,
        request_id=submit.request_id,
        prompt=list(submit.token_ids),
        sampling=_sampling(submit.sampling),
        max_tokens=max_tokens,
        n=submit.n,
        min_tokens=submit.min_tokens,
        stop_token_ids=list(submit.stop_token_ids),
        ignore_eos=submit.ignore_eos,
        logprobs=_logprobs(submit.logprobs),
        priority=submit.priority,
        time_left_ms=submit.time_left_ms,
        cache_salt=submit.cache_salt,
        resumed=[Resumed(part.choice, list(part.token_ids), part.finished) for part in submit.resumed],
        traceparent=submit.traceparent,
    )


def _sampling(sampling: pb.Sampling) -> SamplingParams:
    return SamplingParams(
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=tuple((bias.token_id, bias.bias) for bias in sampling.logit_bias),
        seed=sampling.seed,
    )


def _logprobs(wanted: pb.LogprobsRequest) -> LogprobsParams:
    return LogprobsParams(
        output=wanted.output,
        output_top=wanted.output_top,
        prompt=wanted.prompt,
        prompt_top=wanted.prompt_top,
    )

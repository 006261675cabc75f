"""From a plan to the wire's Submit."""

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.worker.v1 import worker_pb2 as pb
from stoker_gateway.generation.plan import LogprobsShape, Plan, Sampling


@dataclass(frozen=True, slots=True)
class Delivered:
    """What earlier attempts brought of one choice."""

    choice: int
    token_ids: Sequence[int]
    finished: bool


@dataclass(frozen=True, slots=True)
class Submission:
    """One attempt at a plan. `model` is "<model id>@<revision>"."""

    request_id: str
    attempt: int
    account: str
    traceparent: str
    model: str
    plan: Plan
    time_left_ms: int
    delivered: tuple[Delivered, ...] = ()


def to_wire(handle: int, submission: Submission) -> pb.Submit:
    """The Submit message under a handle of one stream."""
    plan = submission.plan
    message = pb.Submit(
        handle=handle,
        request_id=submission.request_id,
        attempt=submission.attempt,
        account=submission.account,
        traceparent=submission.traceparent,
        model=submission.model,
        task=pb.TASK_GENERATE,
        token_ids=plan.prompt_ids,
        sampling=_sampling(plan.sampling),
        n=plan.n,
        stop_token_ids=plan.stop_token_ids,
        max_tokens=plan.max_tokens,
        min_tokens=plan.min_tokens,
        ignore_eos=plan.ignore_eos,
        time_left_ms=submission.time_left_ms,
        cache_salt=plan.cache_salt,
        final_only=plan.final_only,
    )
    if plan.logprobs is not LogprobsShape.NONE:
        message.logprobs.CopyFrom(_logprobs(plan))
    for part in submission.delivered:
        message.resumed.add(choice=part.choice, token_ids=part.token_ids, finished=part.finished)
    return message


def _logprobs(plan: Plan) -> pb.LogprobsRequest:
    prompt = plan.prompt_logprobs
    return pb.LogprobsRequest(
        output=True, output_top=plan.top_logprobs, prompt=prompt, prompt_top=plan.top_logprobs if prompt else 0
    )


def _sampling(sampling: Sampling) -> pb.Sampling:
    return pb.Sampling(
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=[pb.LogitBias(token_id=token_id, bias=bias) for token_id, bias in sampling.logit_bias],
        seed=sampling.seed,
    )

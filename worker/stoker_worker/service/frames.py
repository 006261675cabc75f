"""Output as it travels: protobuf's packed arrays, filled column by column."""

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import EndReason, RequestCounters, TopLogprobs
from stoker_worker.service.batch import Batch, Ending
from stoker_worker.service.merged import MergedChoice, MergedRequest

# Numbers of one frame of merged output; the rest follows in the next. About 2 MB, half of gRPC's default limit.
MAX_FRAME_VALUES = 400_000

# The request may go on elsewhere: it did not end by its own doing.
RETRYABLE = frozenset({EndReason.ENGINE_DIED, EndReason.DRAINED})


def put_step(frame: pb.Frame, batch: Batch) -> None:
    """Fill in the output of one step."""
    if batch.handles:
        tokens = frame.tokens
        tokens.handles.extend(batch.handles)
        tokens.choices.extend(batch.choices)
        tokens.counts.extend(batch.counts)
        tokens.token_ids.extend(batch.token_ids)
        tokens.finish.extend(batch.finish)  # type: ignore[arg-type]  # plain numbers of the enum
        for entry, logprobs in batch.logprobs.items():
            tokens.logprobs.add(
                entry=entry,
                logprobs=logprobs.logprobs,
                top=logprobs.top,
                top_token_ids=logprobs.top_token_ids,
                top_logprobs=logprobs.top_logprobs,
            )
    for handle, logprobs in batch.prompt_logprobs.items():
        _put_prompt_logprobs(frame, handle, logprobs)
    if batch.counters:
        _put_counters(frame, batch.counted, batch.counters)
    for ending in batch.ended:
        _put_ending(frame, ending)


def put_merged(frame: pb.Frame, requests: dict[int, MergedRequest], max_values: int = MAX_FRAME_VALUES) -> None:
    """Move merged output into a frame, in order, until the frame is full; what did not fit stays in `requests`."""
    counted: list[int] = []
    counters: list[RequestCounters] = []
    room = max_values
    while requests and room > 0:
        handle = next(iter(requests))
        request = requests[handle]
        while request.choices and room > 0:
            choice = next(iter(request.choices))
            merged = request.choices.pop(choice)
            _put_choice(frame, handle, choice, merged)
            room -= merged.num_values
        if request.counters:
            counted.append(handle)
            counters.append(request.counters)
        if request.choices:
            break
        if request.prompt_logprobs:
            _put_prompt_logprobs(frame, handle, request.prompt_logprobs)
            room -= len(request.prompt_logprobs.logprobs) + 2 * len(request.prompt_logprobs.top_logprobs)
        if request.ending:
            _put_ending(frame, request.ending)
        del requests[handle]
    if counters:
        _put_counters(frame, counted, counters)


def _put_choice(frame: pb.Frame, handle: int, choice: int, merged: MergedChoice) -> None:
    tokens = frame.tokens
    if merged.logprobs:
        tokens.logprobs.add(
            entry=len(tokens.handles),
            logprobs=merged.logprobs.logprobs,
            top=merged.logprobs.top,
            top_token_ids=merged.logprobs.top_token_ids,
            top_logprobs=merged.logprobs.top_logprobs,
        )
    tokens.handles.append(handle)
    tokens.choices.append(choice)
    tokens.counts.append(len(merged.token_ids))
    tokens.token_ids.extend(merged.token_ids)
    tokens.finish.append(merged.finish)  # type: ignore[arg-type]  # a plain number of the enum


def _put_prompt_logprobs(frame: pb.Frame, handle: int, logprobs: TopLogprobs) -> None:
    frame.tokens.prompt_logprobs.add(
        handle=handle,
        logprobs=logprobs.logprobs,
        top=logprobs.top,
        top_token_ids=logprobs.top_token_ids,
        top_logprobs=logprobs.top_logprobs,
    )


def _put_counters(frame: pb.Frame, handles: list[int], counters: list[RequestCounters]) -> None:
    out = frame.counters
    out.handles.extend(handles)
    out.prompt_tokens.extend([c.prompt for c in counters])
    out.cached_tokens.extend([c.cached for c in counters])
    out.completion_tokens.extend([c.completion for c in counters])
    out.queue_us.extend([c.queue_us for c in counters])
    out.prefill_us.extend([c.prefill_us for c in counters])
    out.decode_us.extend([c.decode_us for c in counters])


def _put_ending(frame: pb.Frame, ending: Ending) -> None:
    frame.ended.add(
        handle=ending.handle,
        reason=ending.reason,
        message=ending.message,
        retryable=ending.reason in RETRYABLE,
    )

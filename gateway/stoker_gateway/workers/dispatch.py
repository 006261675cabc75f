"""From one frame to the inboxes of the requests it speaks of: a loop over packed arrays, no task per token."""

from collections.abc import MutableMapping

from stoker.worker.v1 import worker_pb2 as pb
from stoker_gateway.workers.inbox import Delta, End, EndReason, Finish, Inbox, Refusal, RefusalReason, TopLogprobs

Inboxes = MutableMapping[int, Inbox]
Told = dict[Inbox, None]  # in the order of the news, each once

_FINISH = {pb.FINISH_REASON_STOP: Finish.STOP, pb.FINISH_REASON_LENGTH: Finish.LENGTH}

_REFUSAL = {
    pb.REFUSAL_CODE_TOO_LONG: RefusalReason.TOO_LONG,
    pb.REFUSAL_CODE_QUEUE_FULL: RefusalReason.BUSY,
    pb.REFUSAL_CODE_ENGINE_DOWN: RefusalReason.AWAY,
    pb.REFUSAL_CODE_DRAINING: RefusalReason.AWAY,
    pb.REFUSAL_CODE_UNKNOWN_MODEL: RefusalReason.AWAY,
}

_END = {
    pb.END_REASON_FINISHED: EndReason.FINISHED,
    pb.END_REASON_ABORTED: EndReason.ABORTED,
    pb.END_REASON_DEADLINE: EndReason.DEADLINE,
    pb.END_REASON_FAILED: EndReason.FAILED,
}


def dispatch(frame: pb.Frame, inboxes: Inboxes, told: Told) -> None:
    """Hand a frame's contents to `inboxes`, forget those that have had their last word, and add to `told` who has news.

    Unknown handles are passed over: their requests are gone already.
    """
    for accepted in frame.accepted:
        if (inbox := inboxes.get(accepted.handle)) is not None:
            inbox.accepted = True
            told[inbox] = None
    for refused in frame.refused:
        if (inbox := inboxes.pop(refused.handle, None)) is not None:
            inbox.refusal = _refusal(refused)
            told[inbox] = None
    if frame.HasField("counters"):
        _counters(frame.counters, inboxes)
    if frame.HasField("tokens"):
        _tokens(frame.tokens, inboxes, told)
    for ended in frame.ended:
        if (inbox := inboxes.pop(ended.handle, None)) is not None:
            inbox.end = End(_END.get(ended.reason, EndReason.BROKEN_OFF), ended.retryable)
            told[inbox] = None


def _tokens(tokens: pb.Tokens, inboxes: Inboxes, told: Told) -> None:
    for prompt in tokens.prompt_logprobs:
        if (inbox := inboxes.get(prompt.handle)) is not None:
            inbox.prompt_logprobs = _top(prompt)
            told[inbox] = None
    logprobs = {entry.entry: _top(entry) for entry in tokens.logprobs} if tokens.logprobs else {}
    token_ids = list(tokens.token_ids)
    start = 0
    rows = zip(list(tokens.handles), list(tokens.choices), list(tokens.counts), list(tokens.finish), strict=True)
    for entry, (handle, choice, count, finish) in enumerate(rows):
        end = start + count
        inbox = inboxes.get(handle)
        if inbox is not None:
            top = logprobs.get(entry) if logprobs else None
            inbox.deltas.append(Delta(choice, token_ids[start:end], _FINISH[finish] if finish else None, top))
            told[inbox] = None
        start = end


def _counters(counters: pb.Counters, inboxes: Inboxes) -> None:
    for index, handle in enumerate(list(counters.handles)):
        if (inbox := inboxes.get(handle)) is not None:
            inbox.counted = counters, index


def _top(row: pb.TokenLogprobs | pb.PromptLogprobs) -> TopLogprobs:
    return TopLogprobs(list(row.logprobs), row.top, list(row.top_token_ids), list(row.top_logprobs))


def _refusal(refused: pb.Refused) -> Refusal:
    reason = _REFUSAL.get(refused.code, RefusalReason.INVALID)
    return Refusal(reason, refused.field, refused.message, refused.retryable)

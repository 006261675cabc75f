"""Merging loses nothing: whatever the interleaving of steps and reads, the reader ends with the same output."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import EndedRequest, EndReason, Load, RequestCounters, StepReport, TopLogprobs
from stoker_worker.service.batch import request_key, split
from stoker_worker.service.frames import put_merged
from stoker_worker.service.merged import MergedRequest, merge
from stoker_worker.service.outbox import Outbox

STREAMS = 2
HANDLES = 3
CHOICES = 2
LOAD = Load(0, 0, 0, 0, 0)


@dataclass
class Output:
    """What somebody knows of the requests of one stream."""

    tokens: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    finish: dict[tuple[int, int], int] = field(default_factory=dict)
    logprobs: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    top_ids: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    completion: dict[int, int] = field(default_factory=dict)
    prompt_logprobs: dict[int, list[float]] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)

    def take(self, frame: pb.Frame) -> None:
        tokens, start = frame.tokens, 0
        entries = list(zip(tokens.handles, tokens.choices, strict=True))
        assert len(set(entries)) == len(entries)
        for entry, count, finish in zip(entries, tokens.counts, tokens.finish, strict=True):
            assert entry[0] not in self.ended, "output after the last word"
            self.tokens.setdefault(entry, []).extend(tokens.token_ids[start : start + count])
            self.finish[entry] = self.finish.get(entry) or finish
            start += count
        assert start == len(tokens.token_ids)
        for item in tokens.logprobs:
            self.logprobs.setdefault(entries[item.entry], []).extend(item.logprobs)
            self.top_ids.setdefault(entries[item.entry], []).extend(item.top_token_ids)
        for prompt in tokens.prompt_logprobs:
            self.prompt_logprobs[prompt.handle] = list(prompt.logprobs)
        for handle, completion in zip(frame.counters.handles, frame.counters.completion_tokens, strict=True):
            self.completion[handle] = completion
        for ended in frame.ended:
            assert ended.handle not in self.ended
            self.ended[ended.handle] = ended.reason


@dataclass
class Engine:
    """Makes random steps, and keeps what a reader of every single one would know."""

    truth: list[Output] = field(default_factory=lambda: [Output() for _ in range(STREAMS)])
    completion: dict[int, int] = field(default_factory=dict)

    def step(self, draw: st.DrawFn) -> StepReport:
        report = StepReport([], [], [], [], [], [], [], LOAD)
        for stream in range(STREAMS):
            for handle in range(HANDLES):
                if handle not in self.truth[stream].ended:
                    self._advance(stream, handle, draw, report)
        return report

    def _advance(self, stream: int, handle: int, draw: st.DrawFn, report: StepReport) -> None:
        truth, key = self.truth[stream], request_key(stream, handle)
        for choice in range(CHOICES):
            count = draw(st.integers(0, 3))
            if count and not truth.finish.get((handle, choice)):
                self._add_tokens(truth, key, (handle, choice), draw, report, count)
        if draw(st.booleans()):
            truth.completion[handle] = self.completion[key] = self.completion.get(key, 0) + 1
            report.counters.append(RequestCounters(key, 1, 0, self.completion[key], 0, 0, 0))
        if handle not in truth.prompt_logprobs and draw(st.booleans()):
            truth.prompt_logprobs[handle] = [-1.0]
            report.prompt_logprobs[key] = TopLogprobs([-1.0], 0, [], [])
        if draw(st.integers(0, 5)) == 0:
            truth.ended[handle] = EndReason.ABORTED
            report.ended.append(EndedRequest(key, EndReason.ABORTED))

    def _add_tokens(
        self, truth: Output, key: int, entry: tuple[int, int], draw: st.DrawFn, report: StepReport, count: int
    ) -> None:
        tokens = truth.tokens.setdefault(entry, [])
        new = [len(tokens) + i for i in range(count)]
        tokens.extend(new)
        truth.finish[entry] = draw(st.sampled_from([0, 0, 0, 1, 2]))
        if entry[1] == 0:  # the first choice has logprobs
            report.logprobs[len(report.keys)] = TopLogprobs([-0.5] * count, 1, new, [-0.5] * count)
            truth.logprobs.setdefault(entry, []).extend([-0.5] * count)
            truth.top_ids.setdefault(entry, []).extend(new)
        report.keys.append(key)
        report.choices.append(entry[1])
        report.counts.append(count)
        report.token_ids.extend(new)
        report.finish.append(truth.finish[entry])


@settings(max_examples=50)
@given(st.data())
def test_the_reader_ends_with_what_the_engine_made(data: st.DataObject) -> None:
    engine, outboxes, read = Engine(), [Outbox() for _ in range(STREAMS)], [Output() for _ in range(STREAMS)]
    final_only = data.draw(st.sets(st.integers(0, HANDLES - 1)))
    for outbox in outboxes:
        for handle in range(HANDLES):
            outbox.accept(handle, 1, final_only=handle in final_only)
    for _ in range(data.draw(st.integers(1, 12))):
        for stream, batch in split(engine.step(data.draw)).items():
            outboxes[stream].add(batch)
        for stream in data.draw(st.sets(st.integers(0, STREAMS - 1))):
            frame = outboxes[stream].take()
            read[stream].take(frame)
            assert outboxes[stream].is_empty
            assert all(h in read[stream].ended for h in frame.tokens.handles if h in final_only), "told before its end"
    for stream, outbox in enumerate(outboxes):
        abort_all(stream, outbox, engine.truth[stream])
        while not outbox.is_empty:
            read[stream].take(outbox.take())
    assert read == engine.truth


def abort_all(stream: int, outbox: Outbox, truth: Output) -> None:
    report = StepReport([], [], [], [], [], [], [], LOAD)
    for handle in set(range(HANDLES)) - truth.ended.keys():
        truth.ended[handle] = EndReason.ABORTED
        report.ended.append(EndedRequest(request_key(stream, handle), EndReason.ABORTED))
    for batch in split(report).values():
        outbox.add(batch)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 60))
def test_much_merged_output_is_cut_into_frames_between_choices(lengths: list[int], most: int) -> None:
    report = StepReport([], [], [], [], [], [], [], LOAD)
    truth = Output()
    for index, length in enumerate(lengths):
        handle, choice = divmod(index, CHOICES)
        report.keys.append(request_key(0, handle))
        report.choices.append(choice)
        report.counts.append(length)
        report.token_ids.extend(range(length))
        report.finish.append(1)
        truth.tokens[handle, choice], truth.finish[handle, choice] = list(range(length)), 1
        truth.ended[handle] = EndReason.FINISHED
    report.ended.extend(EndedRequest(request_key(0, handle), EndReason.FINISHED) for handle in truth.ended)
    requests: dict[int, MergedRequest] = {}
    merge(split(report)[0], requests)
    read, frames = Output(), 0
    while requests:
        frame = pb.Frame()
        put_merged(frame, requests, max_values=most)
        assert len(frame.tokens.token_ids) <= most + 40, "a frame ends with the choice that fills it"
        read.take(frame)
        frames += 1
    assert read == truth
    assert frames <= len(lengths)


def test_verdicts_come_in_the_order_of_the_stream_and_before_output() -> None:
    outbox = Outbox()
    assert outbox.is_empty
    outbox.accept(1, 5, final_only=False)
    report = StepReport([request_key(0, 1)], [0], [1], [9], [0], [], [], LOAD)
    outbox.add(split(report)[0])
    frame = outbox.take()
    assert [accepted.handle for accepted in frame.accepted] == [1]
    assert list(frame.tokens.token_ids) == [9]
    assert outbox.is_empty


def test_undelivered_tokens_take_four_bytes_each() -> None:
    requests: dict[int, MergedRequest] = {}
    for _ in range(100):
        merge(split(StepReport([request_key(0, 1)], [0], [10], [40_000] * 10, [0], [], [], LOAD))[0], requests)
    token_ids = requests[1].choices[0].token_ids
    assert (len(token_ids), token_ids.itemsize) == (1000, 4)

"""Messages between front and engine survive any cutting of the byte stream."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.engine.messages import AbortRequest, EngineFailed, Resumed, Shutdown, SubmitRequest, ToEngine
from stoker_worker.engine.wire import EngineEnd, FrameSplitter, from_engine_decoder, pack, to_engine_decoder
from stoker_worker.sampling.params import LogprobsParams, SamplingParams

MESSAGES: list[ToEngine] = [
    SubmitRequest(
        1, "a", [1, 2, 3], SamplingParams(logit_bias=((1, 2.0),), seed=2**64 - 1), 5, resumed=[Resumed(0, [7])]
    ),
    AbortRequest(1),
    SubmitRequest(
        2, "b", list(range(5000)), SamplingParams(), 1, logprobs=LogprobsParams(True, 5), cache_salt=b"\x00\xff"
    ),
    Shutdown(),
]


@given(st.lists(st.integers(1, 3000), max_size=30))
def test_any_cutting_gives_the_same_messages(cuts: list[int]) -> None:
    stream = b"".join(pack(message) for message in MESSAGES)
    splitter = FrameSplitter()
    bodies: list[bytes] = []
    for cut in [*cuts, len(stream)]:
        bodies += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert [to_engine_decoder.decode(body) for body in bodies] == MESSAGES


def test_the_engine_reads_what_has_come_without_waiting_and_learns_that_the_front_is_gone() -> None:
    ours, theirs = socket.socketpair()
    end = EngineEnd(theirs)
    assert end.receive(0) == []
    ours.sendall(pack(MESSAGES[1]) + pack(MESSAGES[3]))
    assert end.receive(None) == [MESSAGES[1], MESSAGES[3]]
    end.send(EngineFailed("why", fatal=True))
    (body,) = FrameSplitter().feed(ours.recv(1000))
    assert from_engine_decoder.decode(body) == EngineFailed("why", fatal=True)
    ours.close()
    with pytest.raises(EOFError):
        end.receive(None)
    theirs.close()

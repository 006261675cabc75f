"""One stream without a network: what bounds it."""

import asyncio

from stoker.worker.v1 import worker_pb2 as pb
from stoker_worker.engine.messages import EndReason
from stoker_worker.service.admission import Accepted, Refused
from stoker_worker.service.streams import MAX_REFUSALS, GatewayStream, LiveRequest


def request() -> LiveRequest:
    return LiveRequest("r", 1, "", 0)


async def test_a_gateway_that_asks_without_reading_is_not_listened_to() -> None:
    stream = GatewayStream(1)
    for handle in range(MAX_REFUSALS):
        await stream.has_room()
        stream.refuse(handle, Refused(pb.REFUSAL_CODE_INVALID, "no"))
    waiting = asyncio.ensure_future(stream.has_room())
    done, _ = await asyncio.wait([waiting], timeout=0)
    assert not done
    assert len(stream.take().refused) == MAX_REFUSALS
    await waiting


async def test_a_request_is_open_until_its_end_was_taken() -> None:
    stream = GatewayStream(1)
    stream.accept(5, request(), Accepted(1), final_only=False)
    stream.take()
    (life,) = stream.end_all(EndReason.ENGINE_DIED, "why")
    assert (life.ending.handle, life.ending.reason) == (5, EndReason.ENGINE_DIED)
    assert (stream.num_open, stream.in_use(5), len(stream.live)) == (1, True, 0)
    assert [ended.handle for ended in stream.take().ended] == [5]
    assert (stream.num_open, stream.in_use(5)) == (0, False)


async def test_a_closed_stream_is_done_when_everything_was_taken() -> None:
    stream = GatewayStream(1)
    stream.accept(5, request(), Accepted(1), final_only=True)
    stream.end_all(EndReason.DRAINED, "why")
    stream.close()
    await stream.wait()
    assert not stream.is_done
    stream.take()
    assert stream.is_done

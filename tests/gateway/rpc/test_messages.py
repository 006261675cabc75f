"""Messages out of bytes, however these are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_gateway.rpc.errors import Code, RpcError
from stoker_gateway.rpc.messages import MAX_MESSAGE_BYTES, PREFIX, MessageReader, delimited


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 30)))
def test_messages_come_out_whole_and_in_order_wherever_the_bytes_are_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(delimited, messages))
    reader, found = MessageReader(), []
    for cut in cuts:
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    found += reader.feed(stream)
    assert found == messages
    assert reader.between


@pytest.mark.parametrize(
    ("prefix", "code"),
    [(PREFIX.pack(1, 3), Code.INTERNAL), (PREFIX.pack(0, MAX_MESSAGE_BYTES + 1), Code.RESOURCE_EXHAUSTED)],
    ids=["compressed", "too long"],
)
def test_a_message_that_cannot_be_taken_is_refused_at_its_prefix(prefix: bytes, code: Code) -> None:
    with pytest.raises(RpcError) as caught:
        MessageReader().feed(delimited(b"fine") + prefix)
    assert caught.value.code is code


def test_a_message_that_has_begun_is_told_from_none() -> None:
    reader = MessageReader()
    reader.feed(delimited(b"whole")[:-1])
    assert not reader.between

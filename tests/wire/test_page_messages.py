"""Messages put together and taken apart by hand are protobuf's, byte for byte."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings

from cramwire import page_messages as by_hand
from cramwire.v1 import memory_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = st.text(max_size=40)
DPAS = st.lists(st.integers(0, 2**64 - 1), max_size=40)
DATA = st.binary(max_size=300)
DEVICE_NS = st.one_of(st.sampled_from((0, 1, 127, 128, 1 << 40, 2**64 - 1)), st.integers(0, 2**64 - 1))


packed = by_hand.pack_dpas


@given(WORDS, WORDS, DPAS, DATA)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_requests_are_the_same(session: str, generation: str, dpas: list[int], data: bytes) -> None:
    """Written by hand and read by protobuf, and the other way round."""
    write = memory_pb2.WriteRequest(session=session, generation=generation, dpas=dpas, data=data)
    read = memory_pb2.ReadRequest(session=session, generation=generation, dpas=dpas)
    pieces = (data[:100], memoryview(data)[100:])
    assert by_hand.put_write_request(session, generation, packed(dpas), pieces) == write.SerializeToString()
    assert by_hand.put_read_request(session, generation, packed(dpas)) == read.SerializeToString()
    for taken, expected in (
        (by_hand.take_write_request(write.SerializeToString()), data),
        (by_hand.take_read_request(read.SerializeToString()), b""),
    ):
        assert (taken.session, taken.generation) == (session, generation)
        assert bytes(taken.dpas) == packed(dpas)
        assert bytes(taken.data) == expected


@given(DATA, DEVICE_NS)
@settings(max_examples=100, deadline=None, derandomize=True)
@example(bytes(4096), 850)
@example(bytes(3 * 4096), 0)
def test_read_responses_are_the_same(data: bytes, device_ns: int) -> None:
    """In whatever pieces the data is."""
    message = memory_pb2.ReadResponse(data=data, device_ns=device_ns).SerializeToString()
    for pieces in ([data], [memoryview(data)], [data[:100], data[100:]]):
        assert by_hand.put_read_response(pieces, device_ns) == message
    taken = by_hand.take_read_response(message)
    assert bytes(taken.data) == data
    assert taken.device_ns == device_ns


@given(st.binary(min_size=1, max_size=10_000), DEVICE_NS)
@settings(max_examples=60, deadline=None, derandomize=True)
@example(bytes(3 * 4096), 0)
@example(bytes(range(256)) * 16, 2**64 - 1)
def test_a_reply_that_is_written_in_place_is_the_same(data: bytes, device_ns: int) -> None:
    """The pages go straight into the message, and it ends where it has to."""
    reply = by_hand.ReadReply(len(data))
    reply.pages[:] = data
    message = memory_pb2.ReadResponse(data=data, device_ns=device_ns).SerializeToString()
    assert reply.take(device_ns) == message


def test_a_reply_is_not_taken_while_somebody_may_write_to_it() -> None:
    """What was sent must not change."""
    reply = by_hand.ReadReply(8192)
    part = reply.pages[:4096]
    with pytest.raises(BufferError):
        reply.take(1)
    part.release()


def write_fields(message: memory_pb2.WriteRequest) -> tuple[str, str, bytes, bytes]:
    """What a WriteRequest says."""
    return message.session, message.generation, packed(list(message.dpas)), message.data


ODD = {
    "fields in another order": b"\x22\x02hi\x0a\x01s",
    "a field twice": b"\x0a\x01s\x0a\x01t\x22\x01a\x22\x01b",
    "addresses not packed": b"\x19" + packed([4096]) + b"\x19" + packed([8192]) + b"\x22\x01a",
    "addresses packed in two parts": b"\x1a\x08" + packed([4096]) + b"\x1a\x08" + packed([8192]),
    "a field of the future": b"\x0a\x01s\x2a\x03new\x30\x07",
    "a length longer than it needs to be": b"\x0a\x81\x00s",
}


@pytest.mark.parametrize("message", ODD.values(), ids=ODD)
def test_other_forms_are_understood(message: bytes) -> None:
    """Protobuf reads them too; so other clients may send them."""
    taken = by_hand.take_write_request(message)
    expected = write_fields(memory_pb2.WriteRequest.FromString(message))
    assert (taken.session, taken.generation, bytes(taken.dpas), bytes(taken.data)) == expected


@pytest.mark.parametrize(
    "take", [by_hand.take_write_request, by_hand.take_read_request, by_hand.take_read_response]
)
@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05abc", b"\x0a\xff\xff\xff\xff\xff", b"\x07", b"\x00\x00"]
)
def test_what_is_no_message_is_refused(take: Callable[[bytes], object], message: bytes) -> None:
    """As protobuf refuses it."""
    with pytest.raises(DecodeError):
        take(message)


@pytest.mark.parametrize("message", [b"\x0a\x01\xff", b"\x1a\x07abcdefg", b"\x12\x02\xed\xa0"])
def test_what_is_no_request_is_refused(message: bytes) -> None:
    """Strings that are no UTF-8, addresses that are no whole number of eight bytes."""
    for take in (by_hand.take_write_request, by_hand.take_read_request):
        with pytest.raises(DecodeError):
            take(message)


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
@example(types_pb2.DpaRange(start=1, length=2).SerializeToString())
def test_any_bytes_mean_what_they_mean_to_protobuf(message: bytes) -> None:
    """The same, or refused by both."""
    expected: tuple[object, ...] | None = None
    with contextlib.suppress(DecodeError):
        expected = write_fields(memory_pb2.WriteRequest.FromString(message))
    found: tuple[object, ...] | None = None
    with contextlib.suppress(DecodeError):
        taken = by_hand.take_write_request(message)
        found = (taken.session, taken.generation, bytes(taken.dpas), bytes(taken.data))
    assert found == expected

    reply: tuple[object, ...] | None = None
    with contextlib.suppress(DecodeError):
        parsed = memory_pb2.ReadResponse.FromString(message)
        reply = (parsed.data, parsed.device_ns)
    pages: tuple[object, ...] | None = None
    with contextlib.suppress(DecodeError):
        read = by_hand.take_read_response(message)
        pages = (bytes(read.data), read.device_ns)
    assert pages == reply

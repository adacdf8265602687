"""Messages of open calls put together and taken apart by hand are protobuf's, byte for byte."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2
from hypothesis import example, given, settings

from cramwire import transfer_messages as by_hand
from cramwire.page_messages import PageRequest, ReadPages, ReadReply, pack_dpas
from cramwire.transfer_answers import AROUND, Answers, put_alone
from cramwire.v1 import memory_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = st.text(max_size=40)
DPAS = st.lists(st.integers(0, 2**64 - 1), max_size=40)
DATA = st.binary(max_size=300)
DEVICE_NS = st.one_of(st.sampled_from((0, 1, 127, 128, 1 << 40, 2**64 - 1)), st.integers(0, 2**64 - 1))


@given(WORDS, WORDS, DPAS, DATA)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_commands_are_the_same(session: str, generation: str, dpas: list[int], data: bytes) -> None:
    """Written by hand and read by protobuf, and the other way round."""
    write = memory_pb2.WriteRequest(session=session, generation=generation, dpas=dpas, data=data)
    read = memory_pb2.ReadRequest(session=session, generation=generation, dpas=dpas)
    trim = memory_pb2.TrimRequest(session=session, ranges=[types_pb2.DpaRange(start=4096, length=8192)])
    packed = pack_dpas(dpas)
    for message, expected in (
        (
            by_hand.put_write_command(session, generation, packed, (data,)),
            memory_pb2.TransferRequest(write=write),
        ),
        (by_hand.put_read_command(session, generation, packed), memory_pb2.TransferRequest(read=read)),
        (by_hand.put_trim_command(trim), memory_pb2.TransferRequest(trim=trim)),
    ):
        assert message == expected.SerializeToString()
        taken = by_hand.take_command(message)
        assert taken is not None
        assert taken[0] == expected.WhichOneof("command")
    name, request = by_hand.take_command(memory_pb2.TransferRequest(write=write).SerializeToString()) or (
        "",
        None,
    )
    assert name == "write"
    assert isinstance(request, PageRequest)
    assert (request.session, request.generation) == (session, generation)
    assert bytes(request.dpas) == packed
    assert bytes(request.data) == data


@given(DATA, DEVICE_NS)
@settings(max_examples=100, deadline=None, derandomize=True)
@example(bytes(4096), 850)
def test_answers_are_the_same(data: bytes, device_ns: int) -> None:
    """Of each kind."""
    written = memory_pb2.WriteResponse(accepted_pages=3, device_ns=device_ns)
    trimmed = memory_pb2.TrimResponse(trimmed_pages=3, device_ns=device_ns)
    status = status_pb2.Status(code=code_pb2.OUT_OF_RANGE, message="no")
    found = memory_pb2.ReadResponse(data=data, device_ns=device_ns)
    for message, whole, answer in (
        (by_hand.put_answer(by_hand.WRITE, written), memory_pb2.TransferResponse(write=written), written),
        (by_hand.put_answer(by_hand.TRIM, trimmed), memory_pb2.TransferResponse(trim=trimmed), trimmed),
        (
            by_hand.put_refusal(status),
            memory_pb2.TransferResponse(refused=status.SerializeToString()),
            status,
        ),
        (
            by_hand.put_read_answer(data, device_ns),
            memory_pb2.TransferResponse(read=found),
            ReadPages(data, device_ns),
        ),
    ):
        assert message == whole.SerializeToString()
        assert by_hand.take_answer(message) == answer


@given(st.integers(1, 40_000), DEVICE_NS)
@settings(max_examples=60, deadline=None, derandomize=True)
@example(2 * 4096, 0)
@example(1024 * 4096, 2**64 - 1)
@example(16_384 - 4, 1)
def test_an_answer_that_is_written_in_place_is_the_same(size: int, device_ns: int) -> None:
    """Byte for byte where it is whole pages; else it may spend a byte on a length."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    reply = ReadReply(len(data), by_hand.READ)
    reply.pages[:] = data
    message = reply.take(device_ns)
    whole = memory_pb2.TransferResponse(read=memory_pb2.ReadResponse(data=data, device_ns=device_ns))
    assert memory_pb2.TransferResponse.FromString(message) == whole
    assert by_hand.take_answer(message) == ReadPages(data, device_ns)
    if size % 4096 == 0:
        assert message == whole.SerializeToString()


COMMANDS = st.lists(
    st.one_of(
        st.builds(
            lambda session, dpas, data: memory_pb2.TransferCommand(
                write=memory_pb2.WriteRequest(session=session, dpas=dpas, data=data)
            ),
            *(WORDS, DPAS, DATA),
        ),
        st.builds(
            lambda session, dpas: memory_pb2.TransferCommand(
                read=memory_pb2.ReadRequest(session=session, dpas=dpas)
            ),
            *(WORDS, DPAS),
        ),
    ),
    min_size=2,
    max_size=6,
)


@given(COMMANDS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_several_commands_are_the_same(commands: list[memory_pb2.TransferCommand]) -> None:
    """Each is, byte for byte, what it would be as a message of its own: its name in logs is the same."""
    alone = [one.SerializeToString() for one in commands]
    parts = [by_hand.CommandParts((one,), len(one), memory_pb2.WriteResponse) for one in alone]
    whole = memory_pb2.TransferRequest(commands=commands)
    assert by_hand.put_commands(parts) == whole.SerializeToString()
    assert [bytes(one) for one in by_hand.take_commands(whole.SerializeToString()) or ()] == alone
    for one, command in zip(alone, commands, strict=True):
        assert (by_hand.take_command(one) or ("",))[0] == command.WhichOneof("command")
    assert by_hand.put_commands(parts[:1]) == alone[0]
    # In another order, or with fields that are not known: as protobuf takes it.
    unknown = b"\x98\x06\x01"
    assert [bytes(one) for one in by_hand.take_commands(unknown + whole.SerializeToString()) or ()] == alone
    assert by_hand.take_commands(alone[0]) == [alone[0]]
    mixed = memory_pb2.TransferRequest(commands=commands, read=memory_pb2.ReadRequest(session="a"))
    assert by_hand.take_commands(mixed.SerializeToString()) is None


ANSWERS = st.lists(st.tuples(st.sampled_from((0, 1, 2, 4, 64)), DEVICE_NS), min_size=1, max_size=5)


@given(ANSWERS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_several_answers_in_place_are_the_same(given_answers: list[tuple[int, int]]) -> None:
    """Pages are written where they stand; what was begun and not closed leaves no trace."""
    made = Answers(sum(4096 * pages + AROUND for pages, _ in given_answers) + AROUND)
    expected = memory_pb2.TransferResponse()
    for pages, device_ns in given_answers:
        if pages:
            assert made.fits(4096 * pages + AROUND)
            room = made.room(4096 * pages)
            room[:] = bytes([device_ns % 255 + 1]) * len(room)
            expected.answers.add(read=memory_pb2.ReadResponse(data=bytes(room), device_ns=device_ns))
            made.close(device_ns)
        else:
            written = memory_pb2.WriteResponse(accepted_pages=3, device_ns=device_ns)
            made.put(by_hand.put_answer(by_hand.WRITE, written))
            expected.answers.add(write=written)
    end = made.end
    held = made.room(AROUND // 2)
    held[:] = bytes([7]) * len(held)
    message = made.take()
    assert len(message) == end
    assert message == expected.SerializeToString()
    taken = by_hand.take_answers(message)
    assert taken == [by_hand.take_answer(one.SerializeToString()) for one in expected.answers]
    assert by_hand.take_answers(b"\x98\x06\x01" + message) == taken
    status = by_hand.put_refusal(status_pb2.Status(code=3))
    assert by_hand.take_answers(message + put_alone(status)) == [*taken, status_pb2.Status(code=3)]
    assert by_hand.take_answers(status) == [status_pb2.Status(code=3)]


@pytest.mark.parametrize("take", [by_hand.take_command, by_hand.take_answer])
def test_what_is_no_message_is_refused(take: Callable[[bytes], object]) -> None:
    """Cut short, or garbage."""
    for message in (b"\xff", b"\x0a\x05ab", b"\x0a", b"\xff\xff\xff\xff"):
        with pytest.raises(DecodeError):
            take(message)


@pytest.mark.parametrize(
    "take", [by_hand.take_command, by_hand.take_answer, by_hand.take_commands, by_hand.take_answers]
)
@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_are_taken_or_refused(take: Callable[[bytes], object], message: bytes) -> None:
    """Nothing else ever comes out."""
    with contextlib.suppress(DecodeError):
        take(message)


def test_what_is_not_in_plain_form_is_left_to_protobuf() -> None:
    """Two commands in one message: the last one counts. Fields out of order, or unknown ones: as anywhere."""
    write = memory_pb2.TransferRequest(write=memory_pb2.WriteRequest(session="a", dpas=[1]))
    read = memory_pb2.TransferRequest(read=memory_pb2.ReadRequest(session="b", dpas=[2]))
    name, request = by_hand.take_command(write.SerializeToString() + read.SerializeToString()) or ("", None)
    assert name == "read"
    assert request is not None
    assert request.session == "b"
    unknown = b"\x98\x06\x01"
    assert (by_hand.take_command(unknown + write.SerializeToString()) or ("",))[0] == "write"
    assert by_hand.take_command(unknown) is None
    answer = memory_pb2.TransferResponse(write=memory_pb2.WriteResponse(accepted_pages=1))
    assert by_hand.take_answer(unknown + answer.SerializeToString()) == answer.write
    refused = memory_pb2.TransferResponse(refused=status_pb2.Status(code=1).SerializeToString())
    assert by_hand.take_answer(unknown + refused.SerializeToString()) == status_pb2.Status(code=1)
    assert by_hand.take_answer(unknown) is None

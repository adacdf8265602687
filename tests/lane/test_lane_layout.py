"""The lane's memory: where everything stands, without any I/O."""

from __future__ import annotations

import mmap

import pytest

from cramwire.lane import (
    DETAIL_BYTES,
    MOST_SLOTS,
    Answer,
    Command,
    Geometry,
    LaneBroken,
    Operation,
    Segment,
    pack_hello,
    parse_hello,
)

GEOMETRY = Geometry(slots=3, pages=5, ranges=7)


def segment(geometry: Geometry = GEOMETRY) -> Segment:
    """Memory of that size, zeros."""
    return Segment(mmap.mmap(-1, geometry.segment_bytes), geometry)


def test_the_hello_carries_the_geometry() -> None:
    """What the device packs, the host reads."""
    assert parse_hello(pack_hello(GEOMETRY)) == GEOMETRY


@pytest.mark.parametrize("message", [b"", b"x" * 24, pack_hello(GEOMETRY)[:-1], pack_hello(GEOMETRY) + b"x"])
def test_what_is_no_hello_is_refused(message: bytes) -> None:
    """Wrong magic, wrong length."""
    with pytest.raises(LaneBroken):
        parse_hello(message)


def test_another_version_is_refused() -> None:
    """The version stands behind the magic."""
    message = bytearray(pack_hello(GEOMETRY))
    message[8] += 1
    with pytest.raises(LaneBroken):
        parse_hello(bytes(message))


@pytest.mark.parametrize(("slots", "pages"), [(0, 1), (MOST_SLOTS + 1, 1), (1, 0), (1, 1 << 21)])
def test_impossible_geometries_are_refused(slots: int, pages: int) -> None:
    """A peer cannot make us compute with any number."""
    with pytest.raises(LaneBroken):
        Geometry(slots, pages, 1)


def test_nothing_overlaps() -> None:
    """Every byte range of every slot is its own, and inside the segment."""
    made = segment()
    for slot in range(GEOMETRY.slots):
        made.data[slot][:] = bytes([slot + 1]) * len(made.data[slot])
        made.addresses[slot][:] = memoryview(bytes([slot + 1]) * 8 * GEOMETRY.addresses).cast("Q")
        made.put_command(slot, Command(slot, slot + 10, slot + 20))
        made.put_answer(slot, Answer(slot, 0, slot + 30, slot + 40, slot + 50), bytes([slot + 1]) * 9)
    for ring in (made.submissions, made.completions):
        for place in range(GEOMETRY.slots):
            ring[place] = 0xFFFF_FFFF
    for slot in range(GEOMETRY.slots):
        assert bytes(made.data[slot]) == bytes([slot + 1]) * 5 * 4096
        assert set(made.addresses[slot].tobytes()) == {slot + 1}
        assert len(made.addresses[slot]) == 14
        assert made.command(slot) == Command(slot, slot + 10, slot + 20)
        assert made.answer(slot) == Answer(slot, 9, slot + 30, slot + 40, slot + 50)
        assert made.detail(slot, 9) == bytes([slot + 1]) * 9
    made.close()


def test_pages_are_aligned() -> None:
    """Data begins on a page, whatever the number of addresses."""
    for pages, ranges in ((1, 0), (1024, 127), (3, 1000)):
        assert Geometry(2, pages, ranges).data_at % 4096 == 0
        assert Geometry(2, pages, ranges).segment_bytes % 4096 == 0


def test_a_status_that_is_too_long_is_left_away() -> None:
    """The code says enough; nothing runs over into the addresses."""
    made = segment()
    made.put_answer(1, Answer(13, 5), b"x" * (DETAIL_BYTES + 1))
    assert made.answer(1).detail_bytes == 0
    assert not any(made.addresses[1])


@pytest.mark.parametrize("answer", [Answer(0, DETAIL_BYTES + 1), Answer(0, data_bytes=5 * 4096 + 1)])
def test_an_answer_cannot_claim_more_than_its_slot(answer: Answer) -> None:
    """The host would read past it."""
    made = segment()
    made.put_answer(0, answer, b"x" * min(answer.detail_bytes, DETAIL_BYTES))
    at = 4096 + 64 + 4
    made._memory[at : at + 4] = answer.detail_bytes.to_bytes(4, "little")
    with pytest.raises(LaneBroken):
        made.answer(0)


def test_memory_that_is_too_small_is_refused() -> None:
    """Whatever the hello says."""
    with pytest.raises(LaneBroken), mmap.mmap(-1, GEOMETRY.segment_bytes - 4096) as small:
        Segment(small, GEOMETRY)


def test_the_numbers_on_the_wire() -> None:
    """What another implementation must find: pinned."""
    assert [(each.name, each.value) for each in Operation] == [
        ("WRITE", 1),
        ("READ", 2),
        ("TRIM", 3),
        ("FLUSH", 4),
    ]
    made = segment(Geometry(8, 1024, 127))
    assert (made.geometry.data_at, made.geometry.slot_bytes) == (24_576, 4_218_880)
    made.put_command(2, Command(1, 2, 3))
    at = 4096 + 2 * 4_218_880
    assert made._memory[at : at + 16].hex() == "01000000020000000300000000000000"

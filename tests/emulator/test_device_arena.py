"""Places for bytes: reuse, limbo, compaction."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cxldev.arena import SLACK_BYTES, STEP, Arena
from emulator_helpers import MIB

if TYPE_CHECKING:
    from numpy.typing import NDArray


def of(*values: int) -> NDArray[np.int64]:
    """Offsets or sizes."""
    return np.array(values, np.int64)


def test_places_do_not_overlap() -> None:
    """Sizes are rounded up to steps, whatever their order."""
    arena = Arena(MIB, MIB)
    sizes = [1, 4096, 33, 32, 100, 4096, 1]
    places = arena.put(sizes, map(bytes, sizes))
    spans = sorted(
        (place, place + -(-size // STEP) * STEP) for place, size in zip(places, sizes, strict=True)
    )
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert arena.live_bytes == sum(end - start for start, end in spans)


def test_a_freed_place_is_taken_first_and_last_in_first_out() -> None:
    """What was freed last is warm."""
    arena = Arena(MIB, MIB)
    places = arena.put([100] * 3, [bytes(100)] * 3)
    arena.give_back(of(*places[:2]), of(100, 100))
    assert arena.take_single(100) == places[1]
    assert arena.put([100] * 2, [bytes(100)] * 2)[0] == places[0]


def test_an_arena_that_is_full_takes_nothing() -> None:
    """Not even the first pieces of a batch; and what has no bytes needs no place."""
    arena = Arena(MIB, MIB)
    pages = (arena.size - arena.top) // 4096 + 1
    with pytest.raises(MemoryError):
        arena.put([4096] * pages, [bytes(4096)] * pages)
    assert (arena.top, arena.live_bytes) == (0, 0)
    assert arena.put([0, 0], [b"", b""]) == [0, 0]


def test_a_place_freed_under_an_open_read_waits_for_it() -> None:
    """And only for reads that began before it was freed."""
    arena = Arena(MIB, MIB)
    place = arena.take_single(100)
    first = arena.begin_read()
    arena.give_back_single(place, 100)
    second = arena.begin_read()
    assert arena.take_single(100) != place
    arena.end_read(first)
    assert arena.take_single(100) == place
    arena.end_read(second)


def test_the_oldest_open_read_decides() -> None:
    """Reads end in any order; one that began after the place was freed does not keep it."""
    arena = Arena(MIB, MIB)
    place = arena.take_single(64)
    old, middle = arena.begin_read(), arena.begin_read()
    arena.give_back(of(place), of(64))
    young = arena.begin_read()
    arena.end_read(old)
    assert arena.take_single(64) != place
    arena.end_read(middle)
    assert arena.take_single(64) == place
    arena.end_read(middle)  # ending twice is harmless
    arena.end_read(young)


def test_a_place_freed_between_two_reads_waits_for_the_first() -> None:
    """The end of the second, which began behind it, frees nothing."""
    arena = Arena(MIB, MIB)
    place = arena.take_single(64)
    old = arena.begin_read()
    arena.give_back(of(place), of(64))
    young = arena.begin_read()
    arena.end_read(young)
    assert arena.take_single(64) != place
    arena.end_read(old)
    assert arena.take_single(64) == place


def test_bytes_move_with_their_pages() -> None:
    """Compaction copies to a new arena and leaves the old one as it is."""
    arena, other = Arena(MIB, MIB), Arena(MIB, MIB)
    sizes = of(10, 3000, 50, 10, 4096)
    data = np.random.default_rng(1).bytes(int(sizes.sum()))
    ends = np.cumsum(sizes).tolist()
    pieces = [data[start:end] for start, end in pairwise([0, *ends])]
    places = of(*arena.put(sizes.tolist(), pieces))
    moved = arena.copy_to(other, places, sizes)
    for memory, where in ((arena.memory, places), (other.memory, moved)):
        copies = [bytes(memory[place : place + size]) for place, size in zip(where, sizes, strict=True)]
        assert b"".join(copies) == data


def test_waste_is_noticed() -> None:
    """More than was left in use, and more than the slack."""
    arena = Arena(256 * MIB, MIB)
    count = SLACK_BYTES // 4096 + 2
    sizes = np.full(count, 4096, np.int64)
    places = of(*(arena.take_single(4096) for _ in range(count)))
    assert not arena.wasteful
    arena.give_back(places, sizes)
    assert arena.wasteful

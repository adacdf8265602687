"""Rows of frames: whichever library expands them, the same bytes, and damage is never taken for a page."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, cast

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import given, settings

from cxldev import frame_rows
from cxldev.config import PAGE_BYTES
from cxldev.frame_rows import LibraryExpander, ReaderExpander, RowExpander, row_expander
from cxldev.frames import ZERO_FRAME, filled_frame, raw_frame
from emulator_helpers import random_page, same_page

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

_COMPRESSOR = zstandard.ZstdCompressor(level=1, write_checksum=True)


def reader() -> RowExpander:
    """The one that is always there."""
    return row_expander(zstandard.ZstdDecompressor(max_window_size=PAGE_BYTES), "libno-such-thing.so.0")


def library() -> RowExpander:
    """The fast one."""
    made = row_expander(zstandard.ZstdDecompressor(max_window_size=PAGE_BYTES))
    if not isinstance(made, LibraryExpander):
        pytest.skip("no libzstd.so.1 on this machine")
    return made


BOTH = pytest.mark.parametrize("make", [reader, library])


def row_of(sizes: list[int]) -> tuple[bytes, bytes]:
    """Frames of pages that compress to about these sizes, and the pages."""
    pages = [random_page(index, size) for index, size in enumerate(sizes)]
    frames = [
        raw_frame(page) if size == PAGE_BYTES else _COMPRESSOR.compress(page)
        for page, size in zip(pages, sizes, strict=True)
    ]
    return b"".join(frames), b"".join(pages)


def test_without_the_library_there_is_the_reader() -> None:
    """A library of another name, say: looked for once."""
    assert isinstance(reader(), ReaderExpander)
    assert frame_rows._loaded["libno-such-thing.so.0"] is None


def test_a_library_without_these_functions_is_none() -> None:
    """Something else that has the name."""
    assert isinstance(row_expander(zstandard.ZstdDecompressor(), "libc.so.6"), ReaderExpander)


@BOTH
@pytest.mark.parametrize("sizes", [[100], [3000, 8, 4096, 500], [1000] * 130])
def test_pages_stand_behind_one_another(make: Callable[[], RowExpander], sizes: list[int]) -> None:
    """Compressed ones, raw ones, one page or many."""
    row, pages = row_of(sizes)
    out = bytearray(len(pages))
    assert make().expand(row, memoryview(out))
    assert bytes(out) == pages


@BOTH
def test_frames_made_by_hand(make: Callable[[], RowExpander]) -> None:
    """Of pages that one word fills."""
    words = (0, 0xFFFF_FFFF_FFFF_FFFF, 0x0123_4567_89AB_CDEF)
    out = bytearray(len(words) * PAGE_BYTES)
    assert make().expand(b"".join(filled_frame(word) for word in words), memoryview(out))
    assert bytes(out) == b"".join(same_page(word.to_bytes(8, "little")) for word in words)


@BOTH
@pytest.mark.parametrize("wanted", [PAGE_BYTES, 3 * PAGE_BYTES])
def test_a_row_of_another_length_is_not_right(make: Callable[[], RowExpander], wanted: int) -> None:
    """Two pages where there is room for one, or for three. Nothing is written beyond the room."""
    row, _ = row_of([500, 700])
    memory = bytearray(b"\x5a" * (wanted + PAGE_BYTES))
    expander = make()
    expanded = expander.expand(row, memoryview(memory)[:wanted])
    assert not expanded or isinstance(expander, ReaderExpander)
    assert memory[wanted:] == b"\x5a" * PAGE_BYTES


@BOTH
@pytest.mark.parametrize(
    "end",
    [
        b"",
        ZERO_FRAME[:-1],
        ZERO_FRAME[:-1] + b"\0",
        zstandard.ZstdCompressor(write_checksum=True).compress(bytes(PAGE_BYTES - 1)),
    ],
    ids=["too few", "cut short", "wrong checksum", "too short"],
)
def test_a_row_that_ends_otherwise(make: Callable[[], RowExpander], end: bytes) -> None:
    """Refused; and the next row is expanded as if nothing had been."""
    expander, out = make(), memoryview(bytearray(2 * PAGE_BYTES))
    assert not expander.expand(filled_frame(7) + end, out)
    assert expander.expand(ZERO_FRAME + filled_frame(7), out)
    assert out[PAGE_BYTES:] == same_page((7).to_bytes(8, "little"))


@pytest.mark.parametrize("make", [reader, library])
@given(at=st.integers(0, 2000), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_damage_stays_within_the_room(
    make: Callable[[], RowExpander], at: int, bit: int, *, cut: bool
) -> None:
    """A bit flipped, or the end cut off: refused, or other bytes, but nothing beside them."""
    whole, pages = row_of([400, 900, 1200])
    damaged = bytearray(whole)
    damaged[at % len(whole)] ^= 1 << bit
    if cut:
        del damaged[-(1 + at % 100) :]
    memory = bytearray(len(pages) + PAGE_BYTES)
    make().expand(bytes(damaged), memoryview(memory)[: len(pages)])
    assert not any(memory[len(pages) :])


class CountingLibrary:
    """Hands out contexts by number."""

    def __init__(self, *contexts: int | None) -> None:
        self._left = list(contexts)
        self.freed: list[int] = []
        self.ZSTD_createDCtx = lambda: self._left.pop(0)
        self.ZSTD_freeDCtx = self.freed.append
        self.ZSTD_decompressDCtx = lambda *_: 0


def test_a_context_is_given_back() -> None:
    """With the thread that it belongs to."""
    counting = CountingLibrary(7)
    made = LibraryExpander(cast("ctypes.CDLL", counting))
    assert counting.freed == []
    del made
    gc.collect()
    assert counting.freed == [7]


def test_no_memory_for_a_context() -> None:
    """Said at once."""
    with pytest.raises(MemoryError):
        LibraryExpander(cast("ctypes.CDLL", CountingLibrary(None)))

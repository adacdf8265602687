"""Pages into frames and back, and what damage looks like."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from cxldev.codec import CompressedPages, PageCodec, StoredPages
from cxldev.config import PAGE_BYTES
from cxldev.errors import DataLength
from cxldev.frames import MOST_FRAME_BYTES
from cxldev.outcomes import PageKind
from emulator_helpers import random_page, random_pages, same_page, zero_page

CODEC = PageCodec(1)


def as_stored(packed: CompressedPages) -> StoredPages:
    """The pages as a device without an arena would hold them."""
    starts = np.cumsum(packed.frame_sizes) - packed.frame_sizes
    in_arena = packed.frame_sizes > 0
    kinds = np.where(in_arena, PageKind.COMPRESSED.value, PageKind.SAME_FILLED.value)
    return StoredPages(
        kinds=kinds.astype(np.uint8),
        sizes=packed.frame_sizes,
        places=np.where(in_arena, starts.astype(np.uint64), packed.words),
        memory=memoryview(bytearray(packed.data)),
    )


@pytest.mark.parametrize("count", [1, 7, 8, 31, 32, 100])
def test_pages_come_back(count: int) -> None:
    """On both sides of the counts where the way of compressing and of expanding changes."""
    data = random_pages(count)
    expanded = CODEC.expand(as_stored(CODEC.compress(data)))
    assert bytes(expanded.data) == data
    assert expanded.bad == ()


@given(st.lists(st.sampled_from((0, 8, 100, 3000, 4000, 4096)), min_size=1, max_size=40), st.integers(0, 99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_mixture_comes_back(sizes: list[int], seed: int) -> None:
    """Same-filled, compressible and raw pages side by side."""
    data = b"".join(random_page(seed + index, size) for index, size in enumerate(sizes))
    assert bytes(CODEC.expand(as_stored(CODEC.compress(data))).data) == data


@pytest.mark.parametrize("count", [1, 2, 40])
def test_a_page_of_one_word_takes_no_bytes(count: int) -> None:
    """One byte repeated, one word repeated, zeros."""
    for page in (zero_page(), same_page(b"\xff"), same_page(b"abcdefgh")):
        packed = CODEC.compress(page * count)
        assert packed.data == b""
        assert packed.sizes.tolist() == [0] * count
        assert packed.words.tolist() == [int.from_bytes(page[:8], "little")] * count


@pytest.mark.parametrize("filled", [[0], [39], [0, 1, 2, 17, 38, 39], [*range(36)]])
def test_pages_of_one_word_stay_in_their_places(filled: list[int]) -> None:
    """First, last, in a row, nearly all: zstd gets the others, and each keeps its number."""
    pages = [
        same_page(bytes([index])) if index in filled else random_page(index, 2000) for index in range(40)
    ]
    packed = CODEC.compress(b"".join(pages))
    assert (packed.sizes == 0).nonzero()[0].tolist() == filled
    assert [len(piece) for piece in packed.pieces] == packed.frame_sizes.tolist()
    assert bytes(CODEC.expand(as_stored(packed)).data) == b"".join(pages)


@given(st.binary(min_size=8, max_size=8), st.sampled_from((1, 3, 9, 16, 22)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_one_word_is_known_at_every_level(word: bytes, level: int) -> None:
    """They never get as far as zstd."""
    packed = PageCodec(level).compress(same_page(word) * 2)
    assert packed.sizes.tolist() == [0, 0]


@pytest.mark.parametrize("where", [8, 600, 2047, PAGE_BYTES - 1])
def test_one_other_byte_is_not_same_filled(where: int) -> None:
    """Wherever it stands, sampled or not."""
    page = bytearray(same_page(b"\x11"))
    page[where] = 0x12
    for count in (1, 3):
        packed = CODEC.compress(bytes(page) * count)
        assert (packed.sizes > 0).all()
        assert bytes(CODEC.expand(as_stored(packed)).data) == bytes(page) * count


def test_what_saves_no_sector_is_kept_as_it_is() -> None:
    """Compressing would make random bytes longer."""
    page = random_page(1)
    packed = CODEC.compress(page)
    assert page in packed.data
    assert packed.sizes.tolist() == [PAGE_BYTES]
    assert packed.frame_sizes.tolist() == [MOST_FRAME_BYTES]


@pytest.mark.parametrize("count", [4, 40])
def test_nothing_of_the_request_is_kept(count: int) -> None:
    """The caller may reuse its buffer at once."""
    data = random_pages(count)
    buffer = bytearray(data)
    packed = CODEC.compress(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert bytes(CODEC.expand(as_stored(packed)).data) == data
    buffer.clear()  # would raise if a view of it were left


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("size", [500, PAGE_BYTES])
def test_every_damaged_page_is_found(count: int, size: int) -> None:
    """A flipped bit in any byte of a page, compressed or raw, makes that page bad and no other."""
    data = b"".join(random_page(seed, size) for seed in range(count))
    victim = count // 2
    packed = CODEC.compress(data)
    start = int(packed.frame_sizes[:victim].sum())
    for offset in [*range(16), *range(16, int(packed.frame_sizes[victim]), 37)]:
        stored = as_stored(packed)
        stored.memory[start + offset] ^= 0x10
        expanded = CODEC.expand(stored)
        assert expanded.bad == (victim,)
        assert bytes(expanded.data[victim * PAGE_BYTES : (victim + 1) * PAGE_BYTES]) == zero_page()
        others = data[: victim * PAGE_BYTES] + zero_page() + data[(victim + 1) * PAGE_BYTES :]
        assert bytes(expanded.data) == others


def test_pages_go_where_they_are_wanted() -> None:
    """Into memory of the caller's, and no further than they reach; damage is found there too."""
    data = random_pages(3) + zero_page() + same_page(b"abcdefgh") + random_page(9, PAGE_BYTES)
    into = memoryview(bytearray(b"\xee" * (len(data) + PAGE_BYTES)))
    stored = as_stored(CODEC.compress(data))
    assert bytes(CODEC.expand(stored, into).data) == data
    assert bytes(into) == data + b"\xee" * PAGE_BYTES
    stored.memory[0] ^= 1
    assert CODEC.expand(stored, into).bad == (0,)
    assert bytes(into) == zero_page() + data[PAGE_BYTES:] + b"\xee" * PAGE_BYTES


def test_empty_and_poisoned_pages_are_zeros() -> None:
    """The device says which is which; the codec hands out no bytes for either."""
    none = np.zeros(2, np.int64)
    kinds = np.array([PageKind.EMPTY, PageKind.POISONED], np.uint8)
    stored = StoredPages(kinds, none, none.astype(np.uint64), memoryview(b""))
    assert bytes(CODEC.expand(stored).data) == zero_page() * 2


def test_half_a_page_is_refused() -> None:
    """The device is told before it compresses; the codec checks all the same."""
    with pytest.raises(DataLength):
        CODEC.compress(bytes(PAGE_BYTES + 1))

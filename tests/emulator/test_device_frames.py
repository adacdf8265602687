"""Frames of pages as zstd knows them, and rows of them."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard

from cxldev.codec import PageCodec
from cxldev.config import PAGE_BYTES
from cxldev.frames import (
    FRAME_HEADER,
    MOST_FRAME_BYTES,
    filled_frame,
    filled_page,
    media_bytes,
    media_bytes_of,
)
from emulator_helpers import random_page

WORDS = [0, 0x1111_1111_1111_1111, int.from_bytes(b"abcdefgh", "little"), 2**64 - 1]


@pytest.mark.parametrize("level", [-5, 1, 3, 9, 19, 22])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_frames_begin_alike_at_every_level(level: int, count: int) -> None:
    """Whether one page is compressed or many, and whether it shrinks or not."""
    packed = PageCodec(level).compress(
        b"".join(random_page(seed, 100 * seed) for seed in range(1, count + 1))
    )
    for piece in [*packed.pieces, *PageCodec(level).compress(random_page(1, PAGE_BYTES) * count).pieces]:
        assert bytes(piece).startswith(FRAME_HEADER)
        assert len(piece) <= MOST_FRAME_BYTES


@pytest.mark.parametrize("word", WORDS)
def test_a_frame_of_one_word_is_that_page(word: int) -> None:
    """Zstd agrees, checksum included."""
    parameters = zstandard.get_frame_parameters(filled_frame(word))
    assert (parameters.content_size, parameters.has_checksum) == (PAGE_BYTES, True)
    decompressor = zstandard.ZstdDecompressor()
    assert decompressor.decompress(filled_frame(word), allow_extra_data=False) == filled_page(word)


def test_the_media_is_charged_for_what_a_frame_must_have() -> None:
    """Neither the size nor the checksum; a page that saves no sector counts as a page."""
    page = random_page(3, 900)
    bare = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(page)
    packed = PageCodec(1).compress(page)
    assert packed.sizes.tolist() == [len(bare)]
    assert packed.frame_sizes.tolist() == [len(bare) + 5]
    frames = np.array([0, 20, 4037, 4038, MOST_FRAME_BYTES], np.int64)
    assert media_bytes(frames).tolist() == [0, 15, 4032, PAGE_BYTES, PAGE_BYTES]
    assert [media_bytes_of(size) for size in frames[1:].tolist()] == media_bytes(frames)[1:].tolist()

"""How a page lies in the arena: as one zstd frame, whatever it holds. So a read finds frames in a row.

The format is RFC 8878. All frames of pages begin with the same bytes: magic number, and a header that tells
the content's size and that a checksum follows the content. A page of noise is a frame, too, whose one block
is raw: `MOST_FRAME_BYTES`. Pages of which the arena holds nothing get theirs made here.

What the media is charged for is not the emulator's economy: a frame without size and checksum, and never
more than the page itself (`media_bytes`).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from xxhash import xxh64_intdigest

from cxldev.config import PAGE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.codec import Buffer

WORD_BYTES: Final = 8
"""A page is same-filled if it is one word of this many bytes, repeated. Covers one byte repeated."""
_WORDS: Final = PAGE_BYTES // WORD_BYTES

_ONE_SEGMENT_TWO_BYTES_OF_SIZE_CHECKSUM: Final = 0x64
_SIZE_BASE: Final = 256
"""A size of two bytes is told less this."""
FRAME_HEADER: Final = struct.pack(
    "<IBH", 0xFD2F_B528, _ONE_SEGMENT_TWO_BYTES_OF_SIZE_CHECKSUM, PAGE_BYTES - _SIZE_BASE
)
"""The first bytes of every page's frame."""
DESCRIPTOR_AT: Final = 4
DESCRIPTOR: Final = FRAME_HEADER[DESCRIPTOR_AT]
"""Of the header, the byte that says how the rest is to be read. One bit of it means nothing to zstd."""
_BLOCK_HEADER_BYTES: Final = 3
_CHECKSUM: Final = struct.Struct("<I")
_RAW: Final = 0
_REPEATED: Final = 1

MOST_FRAME_BYTES: Final = len(FRAME_HEADER) + _BLOCK_HEADER_BYTES + PAGE_BYTES + _CHECKSUM.size
"""zstd keeps what it cannot shrink as a raw block."""
_FREE_OF_CHARGE: Final = 1 + _CHECKSUM.size
"""Bytes of a frame that the media is not charged for: with its size told it is one byte longer."""
_MOST_CHARGED: Final = PAGE_BYTES - 64
"""A frame above this saves not even the smallest sector (64 bytes): the page is charged for as it is."""


def media_bytes(frame_bytes: NDArray[np.int64]) -> NDArray[np.int64]:
    """What pages take on the media, bytes: 4096 where a page is kept as it is, 0 where it has no frame."""
    charged = np.maximum(frame_bytes - _FREE_OF_CHARGE, 0)
    charged[charged > _MOST_CHARGED] = PAGE_BYTES
    return charged


def media_bytes_of(frame_bytes: int) -> int:
    """As `media_bytes`, for one page that has a frame."""
    charged = frame_bytes - _FREE_OF_CHARGE
    return charged if charged <= _MOST_CHARGED else PAGE_BYTES


def filled_page(word: int) -> bytes:
    """The page that one u64 fills, little-endian."""
    return word.to_bytes(WORD_BYTES, "little") * _WORDS


def raw_frame(page: Buffer) -> bytes:
    """A frame that holds the page as it is."""
    return _frame(_RAW, page, page)


@lru_cache(maxsize=64)
def filled_frame(word: int) -> bytes:
    """A frame of the page that one u64 fills."""
    page = filled_page(word)
    byte = page[:1]
    if byte * WORD_BYTES == page[:WORD_BYTES]:
        return _frame(_REPEATED, byte, page)
    return raw_frame(page)


def _frame(kind: int, block: Buffer, page: Buffer) -> bytes:
    """A frame of one block, which is the last."""
    block_header = (PAGE_BYTES << 3 | kind << 1 | 1).to_bytes(_BLOCK_HEADER_BYTES, "little")
    return b"".join((FRAME_HEADER, block_header, block, _CHECKSUM.pack(xxh64_intdigest(page) & 0xFFFF_FFFF)))


ZERO_FRAME: Final = filled_frame(0)
"""Of an empty page, which reads as zeros."""

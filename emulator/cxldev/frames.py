"""Frames of pages that zstd did not compress, made by hand: so every page of a read is one frame in a row.

The format is RFC 8878: magic number, frame header (no content size, no checksum, a window of one page), and
one block that is the last, either raw or one byte repeated.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from cxldev.config import PAGE_BYTES

if TYPE_CHECKING:
    from cxldev.codec import Buffer

WORD_BYTES: Final = 8
"""A page is same-filled if it is one word of this many bytes, repeated. Covers one byte repeated."""
_WORDS: Final = PAGE_BYTES // WORD_BYTES

_WINDOW_LOG: Final = PAGE_BYTES.bit_length() - 1
_FRAME_HEADER: Final = struct.pack("<IBB", 0xFD2F_B528, 0, (_WINDOW_LOG - 10) << 3)
_RAW: Final = 0
_REPEATED: Final = 1


def _block_header(kind: int) -> bytes:
    return (PAGE_BYTES << 3 | kind << 1 | 1).to_bytes(3, "little")


_RAW_HEADER: Final = _FRAME_HEADER + _block_header(_RAW)
_REPEATED_HEADER: Final = _FRAME_HEADER + _block_header(_REPEATED)


def filled_page(word: int) -> bytes:
    """The page that one u64 fills, little-endian."""
    return word.to_bytes(WORD_BYTES, "little") * _WORDS


def raw_frame(page: Buffer) -> bytes:
    """A frame that holds the page as it is."""
    return b"".join((_RAW_HEADER, page))


def filled_frame(word: int) -> bytes:
    """A frame of the page that one u64 fills."""
    byte = word.to_bytes(WORD_BYTES, "little")[:1]
    if byte * WORD_BYTES == word.to_bytes(WORD_BYTES, "little"):
        return _REPEATED_HEADER + byte
    return raw_frame(filled_page(word))


ZERO_FRAME: Final = filled_frame(0)
"""Of an empty page, which reads as zeros."""

"""Compression of pages, apart from the device: it needs no lock, so threads can do it in parallel.

Frames carry no content size: a page is always 4096 bytes, and a damaged frame then cannot ask for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import zstandard
from xxhash import xxh3_64_intdigest

from cxldev.config import PAGE_BYTES
from cxldev.errors import DataLength
from cxldev.outcomes import SAME_FILLED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Buffer = bytes | bytearray | memoryview
"""What a caller may hand in: contiguous bytes."""
PageData = bytes | bytearray | memoryview
"""Pages behind one another: count * 4096 bytes."""

WORD_BYTES: Final = 8
"""A page is same-filled if it is one word of this many bytes, repeated. Covers one byte repeated."""
_WORDS: Final = PAGE_BYTES // WORD_BYTES
_SAMPLES: Final = (1, 64, 255, _WORDS - 1)
"""Words that are compared with the first before a whole page is: nearly no other page passes."""
_LARGEST_FRAME: Final = PAGE_BYTES - 64
"""A frame above this saves not even the smallest sector (64 bytes): the page is kept as it is."""
_ZEROS: Final = bytes(PAGE_BYTES)
_CHECKSUM: Final = 0xFFFF_FFFF

# `multi_*` sets up contexts at each call: measured, a loop is faster below these counts.
_MULTI_COMPRESS: Final = 8
_MULTI_EXPAND: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class CompressedPages:
    """Pages of a write, ready to be stored. All arrays are one entry a page. Owns all its memory."""

    sizes: NDArray[np.int64]
    """Bytes of `data` that each takes: 0 if it is same-filled, 4096 if it is kept as it is."""
    words: NDArray[np.uint64]
    """The word that fills a same-filled page; else 0."""
    checksums: NDArray[np.uint32]
    """Low 32 bits of xxh3_64 of the page; 0 of a same-filled one."""
    data: bytes
    """The pages' bytes behind one another, no gaps."""

    def __len__(self) -> int:
        return len(self.sizes)


@dataclass(frozen=True, slots=True, eq=False)
class StoredPages:
    """Pages of a read as the device holds them. All arrays are one entry a page."""

    kinds: NDArray[np.uint8]
    """Values of `PageKind`."""
    sizes: NDArray[np.int64]
    """Bytes in the arena; 0 where it holds none, 4096 where the page was kept as it is."""
    places: NDArray[np.uint64]
    """Offset in `memory`, bytes; of a same-filled page, the word."""
    checksums: NDArray[np.uint32]
    memory: memoryview
    """The arena. It is not copied: these places stay as they are until the read is ended."""

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass(frozen=True, slots=True, eq=False)
class ExpandedPages:
    """Pages of a read as the host wrote them."""

    data: PageData
    """count * 4096 bytes; zeros for pages that are empty, poisoned or bad."""
    bad: tuple[int, ...]
    """Indices of pages whose bytes do not match their checksum, ascending."""


class PageCodec:
    """Compresses and expands pages. One instance per thread: zstd contexts shared by threads crash."""

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, write_content_size=False)
        self._decompressor = zstandard.ZstdDecompressor()

    def compress(self, data: Buffer) -> CompressedPages:
        """N * 4096 bytes -> N pages. Nothing of `data` is kept.

        Raises:
            DataLength: not whole pages.
        """
        view = memoryview(data)
        if view.nbytes % PAGE_BYTES:
            raise DataLength(f"{view.nbytes} bytes are not whole pages of {PAGE_BYTES}")
        count = view.nbytes // PAGE_BYTES
        words = np.zeros(count, np.uint64)
        filled = _find_same_filled(view, words)
        chosen = [index for index in range(count) if index not in filled] if filled else range(count)

        sizes = np.zeros(count, np.int64)
        checksums = np.zeros(count, np.uint32)
        pages = [view[index * PAGE_BYTES : (index + 1) * PAGE_BYTES] for index in chosen]
        parts: list[Buffer] = []
        lengths: list[int] = []
        for page, frame in zip(pages, self._frames(view, chosen, pages), strict=True):
            length = len(frame)
            if length > _LARGEST_FRAME:
                parts.append(page)
                lengths.append(PAGE_BYTES)
            else:
                parts.append(frame)
                lengths.append(length)
        where = np.asarray(chosen, np.int64) if filled else slice(None)
        sizes[where] = lengths
        checksums[where] = [xxh3_64_intdigest(page) & _CHECKSUM for page in pages]
        return CompressedPages(sizes, words, checksums, b"".join(parts))

    def _frames(
        self, view: memoryview, chosen: range | list[int], pages: list[memoryview]
    ) -> Iterable[Buffer]:
        """One zstd frame for each chosen page, in order."""
        if len(pages) < _MULTI_COMPRESS:
            return [self._compressor.compress(page) for page in pages]
        segments = np.full((len(pages), 2), PAGE_BYTES, np.uint64)
        segments[:, 0] = np.asarray(chosen, np.uint64) * np.uint64(PAGE_BYTES)
        source = zstandard.BufferWithSegments(view, segments.tobytes())
        return _segments(self._compressor.multi_compress_to_buffer(source, threads=1))

    def expand(self, stored: StoredPages) -> ExpandedPages:
        """The pages again, each checked against its checksum. The stored bytes may be damaged."""
        count = len(stored)
        pages: list[Buffer] = [_ZEROS] * count
        bad: list[int] = []
        kinds, sizes, places = stored.kinds.tolist(), stored.sizes.tolist(), stored.places.tolist()
        packed: list[int] = []
        memory = stored.memory
        for index, (kind, size, place) in enumerate(zip(kinds, sizes, places, strict=True)):
            if size == PAGE_BYTES:
                pages[index] = memory[place : place + PAGE_BYTES]
            elif size:
                packed.append(index)
            elif kind == SAME_FILLED and place:
                pages[index] = place.to_bytes(WORD_BYTES, "little") * _WORDS

        if len(packed) < _MULTI_EXPAND or not self._expand_many(stored, packed, pages):
            for index in packed:
                start = places[index]
                try:
                    page = self._decompressor.decompress(
                        memory[start : start + sizes[index]], max_output_size=PAGE_BYTES
                    )
                except zstandard.ZstdError:
                    page = b""
                pages[index] = page

        checksums = stored.checksums.tolist()
        for index, size in enumerate(sizes):
            if not size:
                continue
            page_read = pages[index]
            if len(page_read) != PAGE_BYTES or xxh3_64_intdigest(page_read) & _CHECKSUM != checksums[index]:
                pages[index] = _ZEROS
                bad.append(index)
        if count == 1 and isinstance(pages[0], bytes):
            return ExpandedPages(pages[0], tuple(bad))
        return ExpandedPages(b"".join(pages), tuple(bad))

    def _expand_many(
        self,
        stored: StoredPages,
        packed: list[int],
        pages: list[Buffer],
    ) -> bool:
        """Decompress straight from the arena, all in one call. False: a frame is damaged, none is done."""
        segments = np.empty((len(packed), 2), np.uint64)
        segments[:, 0] = stored.places[packed]
        segments[:, 1] = stored.sizes[packed]
        source = zstandard.BufferWithSegments(stored.memory, segments.tobytes())
        expected = np.full(len(packed), PAGE_BYTES, np.uint64).tobytes()
        try:
            results = self._decompressor.multi_decompress_to_buffer(
                source, decompressed_sizes=expected, threads=1
            )
        except zstandard.ZstdError:
            return False
        for index, page in zip(packed, _segments(results), strict=True):
            pages[index] = page
        return True


def _segments(results: zstandard.BufferWithSegmentsCollection) -> Iterable[Buffer]:
    """The results of one `multi_*` call. Segments are buffers with a length; the stubs do not say so."""
    return cast("Iterable[Buffer]", results)


def _find_same_filled(view: memoryview, words: NDArray[np.uint64]) -> set[int]:
    """Indices of pages of one repeated word; their words go into `words`."""
    count = len(words)
    if count == 1:
        # numpy's fixed cost is many times that of one comparison.
        first = bytes(view[:WORD_BYTES])
        if view[-WORD_BYTES:] == first and view == first * _WORDS:
            words[0] = int.from_bytes(first, "little")
            return {0}
        return set()
    table = np.frombuffer(view, np.dtype("<u8")).reshape(count, _WORDS)
    firsts = table[:, 0]
    maybe = firsts == table[:, _SAMPLES[0]]
    for sample in _SAMPLES[1:]:
        maybe &= firsts == table[:, sample]
    candidates = np.flatnonzero(maybe)
    if not candidates.size:
        return set()
    same = candidates[(table[candidates] == firsts[candidates, np.newaxis]).all(axis=1)]
    words[same] = firsts[same]
    return set(same.tolist())

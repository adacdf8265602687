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

WORD_BYTES: Final = 8
"""A page is same-filled if it is one word of this many bytes, repeated. Covers one byte repeated."""
_WORDS: Final = PAGE_BYTES // WORD_BYTES
_SAMPLES: Final = (1, 64, 255, _WORDS - 1)
"""Words that are compared with the first before a whole page is: nearly no other page passes."""
_LARGEST_FRAME: Final = PAGE_BYTES - 64
"""A frame above this saves not even the smallest sector (64 bytes): the page is kept as it is."""
_ZEROS: Final = bytes(PAGE_BYTES)
_CHECKSUM: Final = 0xFFFF_FFFF
# Of a write of one page; nobody writes to them.
_NO_BYTES: Final = np.zeros(1, np.int64)
_NO_WORD: Final = np.zeros(1, np.uint64)
_NO_CHECKSUM: Final = np.zeros(1, np.uint32)

# `multi_*` sets up contexts at each call: measured, a loop is faster below these counts.
_MULTI_COMPRESS: Final = 8
_MULTI_EXPAND: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class CompressedPages:
    """Pages of a write, ready to be stored. One entry a page everywhere. Owns all its memory."""

    sizes: NDArray[np.int64]
    """Bytes of its piece: 0 if it is same-filled, 4096 if it is kept as it is."""
    words: NDArray[np.uint64]
    """The word that fills a same-filled page; else 0."""
    checksums: NDArray[np.uint32]
    """Low 32 bits of xxh3_64 of the page; 0 of a same-filled one."""
    pieces: list[Buffer]
    """The bytes to store. Pieces as zstd left them: to join them would be one more copy."""

    def __len__(self) -> int:
        return len(self.sizes)

    def behind(self, count: int) -> CompressedPages:
        """All pages but the first so many."""
        return CompressedPages(
            self.sizes[count:], self.words[count:], self.checksums[count:], self.pieces[count:]
        )

    @property
    def data(self) -> bytes:
        """The pieces behind one another: a copy."""
        return b"".join(self.pieces)


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
    """Pages of a read as the host wrote them. Owns all its memory."""

    pieces: list[Buffer]
    """4096 bytes for each page; zeros for pages that are empty, poisoned or bad."""
    bad: tuple[int, ...]
    """Indices of pages whose bytes do not match their checksum, ascending."""

    @property
    def data(self) -> bytes:
        """The pages behind one another: a copy."""
        return b"".join(self.pieces)


class PageCodec:
    """Compresses and expands pages. One instance per thread: zstd contexts shared by threads crash.

    Both ways, whatever runs once for each page runs inside C: `map`, `list`, `join` over zstd's own
    segments.
    """

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
        if count == 1:
            return self._compress_one(view)
        words = np.zeros(count, np.uint64)
        filled = _find_same_filled(view, words)
        if not len(filled):
            frames, lengths, checksums = self._frames(view, np.arange(count))
            return CompressedPages(lengths, words, checksums, frames)

        chosen = np.ones(count, np.bool_)
        chosen[filled] = False
        where = chosen.nonzero()[0]
        pieces: list[Buffer] = [b""] * count
        sizes = np.zeros(count, np.int64)
        sums = np.zeros(count, np.uint32)
        if len(where):
            frames, sizes[where], sums[where] = self._frames(view, where)
            for index, frame in zip(where.tolist(), frames, strict=True):
                pieces[index] = frame
        return CompressedPages(sizes, words, sums, pieces)

    def _compress_one(self, page: memoryview) -> CompressedPages:
        """As `compress`. For one page, numpy would cost more than the rest but zstd."""
        word = bytes(page[:WORD_BYTES])
        if page[-WORD_BYTES:] == word and bytes(page) == word * _WORDS:
            filler = int.from_bytes(word, "little")
            return CompressedPages(_NO_BYTES, np.array([filler], np.uint64), _NO_CHECKSUM, [b""])
        frame = self._compressor.compress(page)
        piece = frame if len(frame) <= _LARGEST_FRAME else bytes(page)
        sizes = np.array([len(piece)], np.int64)
        return CompressedPages(
            sizes, _NO_WORD, np.array([xxh3_64_intdigest(page) & _CHECKSUM], np.uint32), [piece]
        )

    def _frames(
        self, view: memoryview, chosen: NDArray[np.int64]
    ) -> tuple[list[Buffer], NDArray[np.int64], NDArray[np.uint32]]:
        """Of each chosen page: the bytes to store, their length, the page's checksum."""
        count = len(chosen)
        starts = chosen * PAGE_BYTES
        if count < _MULTI_COMPRESS:
            pages: list[Buffer] = [view[start : start + PAGE_BYTES] for start in starts.tolist()]
            frames: list[Buffer] = [self._compressor.compress(page) for page in pages]
        else:
            source = _segments_of(view, starts, np.full(count, PAGE_BYTES, np.int64))
            pages = _buffers(source)
            frames = _buffers(self._compressor.multi_compress_to_buffer(source, threads=1))
        lengths = np.fromiter(map(len, frames), np.int64, count)
        for index in (lengths > _LARGEST_FRAME).nonzero()[0].tolist():
            frames[index] = bytes(pages[index])
            lengths[index] = PAGE_BYTES
        return frames, lengths, _checksums(pages)

    def expand(self, stored: StoredPages) -> ExpandedPages:
        """The pages again, each checked against its checksum. The stored bytes may be damaged."""
        count = len(stored)
        if count == 1:
            return self._expand_one(stored)
        kinds, sizes, places, memory = stored.kinds, stored.sizes, stored.places, stored.memory
        pieces: list[Buffer] = [_ZEROS] * count
        packed = ((sizes > 0) & (sizes < PAGE_BYTES)).nonzero()[0]
        if len(packed) == count:
            pieces, broken = self._pages(memory, places, sizes)
        else:
            pages, broken = self._pages(memory, places[packed], sizes[packed])
            for index, page in zip(packed.tolist(), pages, strict=True):
                pieces[index] = page
            for index in (sizes == PAGE_BYTES).nonzero()[0].tolist():
                place = places.item(index)
                # A copy: the place may hold another page once the read is ended.
                pieces[index] = bytes(memory[place : place + PAGE_BYTES])
            for index in ((kinds == SAME_FILLED) & (places > 0)).nonzero()[0].tolist():
                pieces[index] = places.item(index).to_bytes(WORD_BYTES, "little") * _WORDS

        in_arena = sizes.nonzero()[0]
        checked = pieces if len(in_arena) == count else [pieces[index] for index in in_arena.tolist()]
        wrong = _checksums(checked) != stored.checksums[in_arena]
        if not broken and not wrong.any():
            return ExpandedPages(pieces, ())
        bad = sorted({*packed[broken].tolist(), *in_arena[wrong].tolist()})
        for index in bad:
            pieces[index] = _ZEROS
        return ExpandedPages(pieces, tuple(bad))

    def _expand_one(self, stored: StoredPages) -> ExpandedPages:
        """As `expand`, likewise."""
        size, place = stored.sizes.item(), stored.places.item()
        if not size:
            filled = stored.kinds.item() == SAME_FILLED
            return ExpandedPages([place.to_bytes(WORD_BYTES, "little") * _WORDS if filled else _ZEROS], ())
        held = stored.memory[place : place + size]
        page = bytes(held) if size == PAGE_BYTES else self._page(held)
        if page is None or xxh3_64_intdigest(page) & _CHECKSUM != stored.checksums.item():
            return ExpandedPages([_ZEROS], (0,))
        return ExpandedPages([page], ())

    def _pages(
        self, memory: memoryview, places: NDArray[np.uint64], sizes: NDArray[np.int64]
    ) -> tuple[list[Buffer], list[int]]:
        """The pages of these frames, zeros for those that are damaged, and which these are."""
        count = len(sizes)
        if count >= _MULTI_EXPAND:
            source = _segments_of(memory, places, sizes)
            expected = np.full(count, PAGE_BYTES, np.uint64).tobytes()
            try:
                results = self._decompressor.multi_decompress_to_buffer(
                    source, decompressed_sizes=expected, threads=1
                )
            except zstandard.ZstdError:
                pass  # a frame is damaged, and none is done: find out which, one by one
            else:
                return _buffers(results), []
        pages = [
            self._page(memory[place : place + size])
            for place, size in zip(places.tolist(), sizes.tolist(), strict=True)
        ]
        broken = [index for index, page in enumerate(pages) if page is None]
        return [page or _ZEROS for page in pages], broken

    def _page(self, frame: memoryview) -> bytes | None:
        """The page of a frame; None if it is damaged."""
        try:
            page = self._decompressor.decompress(frame, max_output_size=PAGE_BYTES)
        except zstandard.ZstdError:
            return None
        return page if len(page) == PAGE_BYTES else None


def _segments_of(
    memory: memoryview, starts: NDArray[np.int64] | NDArray[np.uint64], sizes: NDArray[np.int64]
) -> zstandard.BufferWithSegments:
    """Parts of memory as zstd takes them, not copied."""
    segments = np.empty((len(sizes), 2), np.uint64)
    segments[:, 0] = starts
    segments[:, 1] = sizes
    return zstandard.BufferWithSegments(memory, segments.tobytes())


def _buffers(segments: zstandard.BufferWithSegments | zstandard.BufferWithSegmentsCollection) -> list[Buffer]:
    """One object for each segment. They are buffers with a length; the stubs do not say so."""
    return list(cast("Iterable[Buffer]", segments))


def _checksums(pages: list[Buffer]) -> NDArray[np.uint32]:
    """Low 32 bits of xxh3_64 of each."""
    return np.fromiter(map(xxh3_64_intdigest, pages), np.uint64, len(pages)).astype(np.uint32)


def _find_same_filled(view: memoryview, words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Indices of pages of one repeated word; their words go into `words`."""
    count = len(words)
    table = np.frombuffer(view, np.dtype("<u8")).reshape(count, _WORDS)
    firsts = table[:, 0]
    same: NDArray[np.int64] = (firsts == table[:, _SAMPLES[0]]).nonzero()[0]
    for sample in _SAMPLES[1:]:
        # A column touches a line of every page; so only of those that are left.
        same = same[table[same, sample] == firsts[same]]
    if len(same):
        same = same[(table[same] == firsts[same, np.newaxis]).all(axis=1)]
        words[same] = firsts[same]
    return same

"""Compression of pages, apart from the device: it needs no lock, so threads can do it in parallel.

Frames carry no content size: a page is always 4096 bytes, and a damaged frame then cannot ask for more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import numpy as np
import zstandard
from xxhash import xxh3_64_intdigest

from cxldev.config import PAGE_BYTES
from cxldev.errors import DataLength
from cxldev.frame_rows import row_expander
from cxldev.frames import WORD_BYTES, ZERO_FRAME, filled_frame, filled_page, raw_frame
from cxldev.outcomes import SAME_FILLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Buffer = bytes | bytearray | memoryview
"""What a caller may hand in: contiguous bytes."""

_LARGEST_FRAME: Final = PAGE_BYTES - 64
"""A frame above this saves not even the smallest sector (64 bytes): the page is kept as it is."""
_FRAME_OF_ONE_WORD: Final = 256
"""No page of one repeated word has a larger frame: zstd stores the word, or a few of it, and a match."""
_ZEROS: Final = bytes(PAGE_BYTES)
_CHECKSUM: Final = 0xFFFF_FFFF
# Of a write of one page; nobody writes to them.
_NO_BYTES: Final = np.zeros(1, np.int64)
_NO_WORD: Final = np.zeros(1, np.uint64)
_NO_CHECKSUM: Final = np.zeros(1, np.uint32)

_ROW: Final = 128
"""Pages expanded in one go: their checksums find them in a cache of the processor."""
_MULTI_COMPRESS: Final = 8
"""`multi_compress_to_buffer` sets up contexts at each call: measured, a loop is faster below this count."""


# These are made for every single page, so they are not frozen: that would take as long as copying the page.
@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
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


class ExpandedPages(NamedTuple):
    """Pages of a read as the host wrote them."""

    data: Buffer
    """N * 4096 bytes; zeros for pages that are empty, poisoned or bad."""
    bad: tuple[int, ...]
    """Indices of pages whose bytes do not match their checksum, ascending."""


class PageCodec:
    """Compresses and expands pages. One instance per thread: zstd contexts shared by threads crash.

    Both ways, whatever runs once for each page runs inside C: `map`, `list`, zstd itself.
    """

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, write_content_size=False)
        # Frames of pages need no larger window; a damaged one that asks for more is refused.
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=PAGE_BYTES)
        self._rows = row_expander(self._decompressor)

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
        pages = _pages_of(view)
        frames = self._frames(pages)
        sizes = np.fromiter(map(len, frames), np.int64, count)
        checksums = _checksums(pages)
        words = np.zeros(count, np.uint64)
        for index in (sizes > _LARGEST_FRAME).nonzero()[0].tolist():
            frames[index] = bytes(pages[index])
            sizes[index] = PAGE_BYTES
        # Only what compressed to next to nothing can be one word.
        for index in (sizes <= _FRAME_OF_ONE_WORD).nonzero()[0].tolist():
            word = _filling_word(pages[index])
            if word is not None:
                frames[index] = b""
                sizes[index] = checksums[index] = 0
                words[index] = word
        return CompressedPages(sizes, words, checksums, frames)

    def _compress_one(self, page: memoryview) -> CompressedPages:
        """As `compress`. For one page, numpy would cost more than the rest but zstd."""
        word = _filling_word(page) if page[:WORD_BYTES] == page[-WORD_BYTES:] else None
        if word is not None:
            return CompressedPages(_NO_BYTES, np.array([word], np.uint64), _NO_CHECKSUM, [b""])
        frame = self._compressor.compress(page)
        piece = frame if len(frame) <= _LARGEST_FRAME else bytes(page)
        sizes = np.array([len(piece)], np.int64)
        return CompressedPages(
            sizes, _NO_WORD, np.array([xxh3_64_intdigest(page) & _CHECKSUM], np.uint32), [piece]
        )

    def _frames(self, pages: list[memoryview]) -> list[Buffer]:
        """One frame for each page."""
        if len(pages) < _MULTI_COMPRESS:
            return [self._compressor.compress(page) for page in pages]
        several = self._compressor.multi_compress_to_buffer(cast("list[Buffer]", pages), threads=1)
        # Its segments are buffers with a length; the stubs do not say so.
        return list(cast("Iterable[Buffer]", several))

    def expand(self, stored: StoredPages, into: memoryview | None = None) -> ExpandedPages:
        """The pages again, each checked against its checksum. The stored bytes may be damaged.

        Args:
            stored: what a read found.
            into: where the pages go, from the beginning on, if it is long enough for them all; else, and
                for one page, into memory of their own. Others may look at it, and even write to it: what
                they spoil there is found, and expanded again apart from it.
        """
        count = len(stored)
        if count == 1:
            page = self._page(stored, 0)
            return ExpandedPages(_ZEROS, (0,)) if page is None else ExpandedPages(page, ())
        if into is None:
            into = memoryview(bytearray(count * PAGE_BYTES))
        out = into[: count * PAGE_BYTES]
        if self._expand_all(stored, out):
            return ExpandedPages(out, ())
        pages = [self._page(stored, index) for index in range(count)]
        out[:] = b"".join([page or _ZEROS for page in pages])
        return ExpandedPages(out, tuple(index for index, page in enumerate(pages) if page is None))

    def _expand_all(self, stored: StoredPages, out: memoryview) -> bool:
        """Expand the pages as rows of frames, straight to where they go. False: a page is not right."""
        memory = stored.memory
        places, sizes = stored.places.tolist(), stored.sizes.tolist()
        for start in range(0, len(places), _ROW):
            end = start + _ROW
            frames = [
                memory[place : place + size] if 0 < size < PAGE_BYTES else _frame_of(stored, index)
                for index, (place, size) in enumerate(
                    zip(places[start:end], sizes[start:end], strict=True), start
                )
            ]
            part = out[start * PAGE_BYTES : end * PAGE_BYTES]
            if not self._rows.expand(b"".join(frames), part):
                return False
            wrong = _checksums(_pages_of(part)) != stored.checksums[start:end]
            # Pages without bytes in the arena have no checksum.
            if (wrong & (stored.sizes[start:end] > 0)).any():
                return False
        return True

    def _page(self, stored: StoredPages, index: int) -> bytes | None:
        """One page, in memory of its own; None if it is damaged."""
        size, place = stored.sizes.item(index), stored.places.item(index)
        if not size:
            return filled_page(place) if stored.kinds.item(index) == SAME_FILLED else _ZEROS
        held = stored.memory[place : place + size]
        if size == PAGE_BYTES:
            page = bytes(held)
        else:
            try:
                page = self._decompressor.decompress(held, max_output_size=PAGE_BYTES)
            except zstandard.ZstdError:
                return None
        if len(page) != PAGE_BYTES or xxh3_64_intdigest(page) & _CHECKSUM != stored.checksums.item(index):
            return None
        return page


def _pages_of(view: memoryview) -> list[memoryview]:
    """Contiguous pages, one by one."""
    return [view[start : start + PAGE_BYTES] for start in range(0, view.nbytes, PAGE_BYTES)]


def _frame_of(stored: StoredPages, index: int) -> bytes:
    """A frame of a page that is stored without one."""
    place = stored.places.item(index)
    if stored.sizes.item(index):
        return raw_frame(stored.memory[place : place + PAGE_BYTES])
    return filled_frame(place) if stored.kinds.item(index) == SAME_FILLED and place else ZERO_FRAME


def _filling_word(page: memoryview) -> int | None:
    """The word that fills a page, if one does."""
    word = int.from_bytes(page[:WORD_BYTES], "little")
    # As bytes: memoryviews are compared one element after the other.
    return word if bytes(page) == filled_page(word) else None


def _checksums(pages: Sequence[memoryview]) -> NDArray[np.uint32]:
    """Low 32 bits of xxh3_64 of each."""
    return np.fromiter(map(xxh3_64_intdigest, pages), np.uint64, len(pages)).astype(np.uint32)

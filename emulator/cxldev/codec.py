"""Compression of pages, apart from the device: it needs no lock, so threads can do it in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np
import zstandard

from cxldev.config import PAGE_BYTES
from cxldev.errors import DataLength
from cxldev.frame_rows import row_expander
from cxldev.frames import (
    DESCRIPTOR,
    DESCRIPTOR_AT,
    FRAME_HEADER,
    WORD_BYTES,
    ZERO_FRAME,
    filled_frame,
    filled_page,
    media_bytes,
    media_bytes_of,
)
from cxldev.outcomes import SAME_FILLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

Buffer = bytes | bytearray | memoryview
"""What a caller may hand in: contiguous bytes."""

_WORDS: Final = PAGE_BYTES // WORD_BYTES
_SAMPLED: Final = slice(63, None, 64)
"""Words of a page that are compared with its first one, before all are."""
_ZEROS: Final = bytes(PAGE_BYTES)

_ROW: Final = 128
"""Pages expanded in one go: their frames stay in a cache of the processor."""
_MULTI_COMPRESS: Final = 8
"""`multi_compress_to_buffer` sets up contexts at each call: measured, a loop is faster below this count."""


# These are made for every single page, so they are not frozen: that would take as long as copying the page.
@dataclass(slots=True, eq=False)
class CompressedPages:
    """Pages of a write, ready to be stored. One entry a page everywhere. Owns all its memory."""

    sizes: NDArray[np.int64]
    """Bytes that the media takes for it: 0 if it is same-filled, 4096 if it is kept as it is."""
    frame_sizes: NDArray[np.int64]
    """Bytes of its piece."""
    words: NDArray[np.uint64]
    """The word that fills a same-filled page; else 0."""
    pieces: list[Buffer]
    """The frames to store; nothing of a same-filled page. As zstd left them: to join them would be a copy."""

    def __len__(self) -> int:
        return len(self.sizes)

    def behind(self, count: int) -> CompressedPages:
        """All pages but the first so many."""
        return CompressedPages(
            self.sizes[count:], self.frame_sizes[count:], self.words[count:], self.pieces[count:]
        )

    @staticmethod
    def joined(parts: Sequence[CompressedPages]) -> CompressedPages:
        """The pages of several, one behind the other."""
        return CompressedPages(
            np.concatenate([part.sizes for part in parts]),
            np.concatenate([part.frame_sizes for part in parts]),
            np.concatenate([part.words for part in parts]),
            [piece for part in parts for piece in part.pieces],
        )

    def first(self) -> PackedPage:
        """The first page in plain numbers."""
        return PackedPage(self.sizes.item(0), self.frame_sizes.item(0), self.words.item(0), self.pieces[0])

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
    """Bytes of the frame in the arena; 0 where it holds none."""
    places: NDArray[np.uint64]
    """Offset in `memory`, bytes; of a same-filled page, the word."""
    memory: memoryview
    """The arena. It is not copied: these places stay as they are until the read is ended."""

    def __len__(self) -> int:
        return len(self.kinds)

    def part(self, start: int, stop: int) -> StoredPages:
        """Some of them, by index."""
        part = slice(start, stop)
        return StoredPages(self.kinds[part], self.sizes[part], self.places[part], self.memory)


class PackedPage(NamedTuple):
    """One page of a write, ready to be stored: as `CompressedPages`, in plain numbers."""

    size: int
    frame_size: int
    word: int
    piece: Buffer

    def alone(self) -> CompressedPages:
        """The same as a batch of one."""
        return CompressedPages(
            np.array([self.size], np.int64),
            np.array([self.frame_size], np.int64),
            np.array([self.word], np.uint64),
            [self.piece],
        )


class ExpandedPages(NamedTuple):
    """Pages of a read as the host wrote them."""

    data: Buffer
    """N * 4096 bytes; zeros for pages that are empty, poisoned or bad."""
    bad: tuple[int, ...]
    """Indices of pages whose bytes do not match their checksum, ascending."""


class PageCodec:
    """Compresses and expands pages. One instance per thread: zstd contexts shared by threads crash.

    Both ways, whatever runs once for each page runs inside C: `map`, `list`, zstd itself. So does the
    checksum of each page, which zstd puts into its frame and compares with what it expanded.
    """

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
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
            return self.compress_single(view).alone()
        return self._compress_all((view,))

    def compress_several(self, parts: Sequence[Buffer]) -> CompressedPages:
        """As `compress`, of pages that lie in several places, in order: zstd is set up once for all."""
        if len(parts) == 1:
            return self.compress(parts[0])
        views = [memoryview(part) for part in parts]
        if any(view.nbytes % PAGE_BYTES for view in views):
            raise DataLength(f"{[view.nbytes for view in views]} bytes are not whole pages of {PAGE_BYTES}")
        return self._compress_all(views)

    def _compress_all(self, views: Sequence[memoryview]) -> CompressedPages:
        count = sum(view.nbytes for view in views) // PAGE_BYTES
        words = np.zeros(count, np.uint64)
        filled: list[int] = []
        others: list[tuple[memoryview, NDArray[np.uint64]]] = []
        first = 0
        for view in views:
            starts = np.arange(0, view.nbytes, PAGE_BYTES, dtype=np.uint64)
            here = []
            for index in _perhaps_filled(view):
                word = _filling_word(view[index * PAGE_BYTES : (index + 1) * PAGE_BYTES])
                if word is not None:
                    words[first + index] = word
                    here.append(index)
            others.append((view, np.delete(starts, here) if here else starts))
            filled += [first + index for index in here]
            first += len(starts)
        frames = self._frames(others)
        for index in filled:  # ascending: each is put where it belongs
            frames.insert(index, b"")
        sizes = np.fromiter(map(len, frames), np.int64, count)
        return CompressedPages(media_bytes(sizes), sizes, words, frames)

    def compress_single(self, page: bytes | memoryview) -> PackedPage:
        """One page of 4096 bytes. numpy would cost more than the rest but zstd."""
        word = _filling_word(page) if page[:WORD_BYTES] == page[-WORD_BYTES:] else None
        if word is not None:
            return PackedPage(0, 0, word, b"")
        frame = self._compressor.compress(page)
        size = len(frame)
        return PackedPage(media_bytes_of(size), size, 0, frame)

    def _frames(self, pages: Sequence[tuple[memoryview, NDArray[np.uint64]]]) -> list[Buffer]:
        """One frame for each of these pages: where they lie, and at which bytes each begins."""
        if sum(len(starts) for _, starts in pages) < _MULTI_COMPRESS:
            compress = self._compressor.compress
            return [
                compress(view[start : start + PAGE_BYTES])
                for view, starts in pages
                for start in starts.tolist()
            ]
        buffers = []
        for view, starts in pages:
            if len(starts):
                segments = np.full((len(starts), 2), PAGE_BYTES, np.uint64)
                segments[:, 0] = starts
                buffers.append(zstandard.BufferWithSegments(view, segments.data.cast("B")))
        # Its author left its types out.
        joined: Any = zstandard.BufferWithSegmentsCollection
        several = self._compressor.multi_compress_to_buffer(
            buffers[0] if len(buffers) == 1 else joined(*buffers), threads=1
        )
        # Its segments are buffers with a length; the stubs do not say so.
        return list(cast("Iterable[Buffer]", several))

    def expand(self, stored: StoredPages, into: memoryview | None = None) -> ExpandedPages:
        """The pages again, each checked against its checksum. The stored bytes may be damaged.

        Args:
            stored: what a read found.
            into: where the pages go, from the beginning on, if it is long enough for them all; else, and
                for one page, into memory of their own. Others may look at it, and even write to it: what
                they spoil there before it is checked is found, and expanded again apart from it.
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
        held = stored.places[stored.sizes > 0].astype(np.int64)
        memory = stored.memory
        if len(held) and (np.frombuffer(memory, np.uint8)[held + DESCRIPTOR_AT] != DESCRIPTOR).any():
            return False
        places, sizes = stored.places.tolist(), stored.sizes.tolist()
        frames: list[Buffer] = [
            memory[place : place + size] if size else ZERO_FRAME
            for place, size in zip(places, sizes, strict=True)
        ]
        for index in ((stored.kinds == SAME_FILLED) & (stored.places != 0)).nonzero()[0].tolist():
            frames[index] = filled_frame(places[index])
        return all(
            self._rows.expand(
                b"".join(frames[start : start + _ROW]), out[start * PAGE_BYTES : (start + _ROW) * PAGE_BYTES]
            )
            for start in range(0, len(frames), _ROW)
        )

    def _page(self, stored: StoredPages, index: int) -> bytes | None:
        """One page, in memory of its own; None if it is damaged."""
        size, place = stored.sizes.item(index), stored.places.item(index)
        frame = bytes(stored.memory[place : place + size]) if size else b""
        return self.expand_single(stored.kinds.item(index), place, frame)

    def expand_single(self, kind: int, word: int, frame: bytes) -> bytes | None:
        """One page of this kind: of its frame, or where it has none, of the word; None if it is damaged."""
        if not frame:
            return filled_page(word) if kind == SAME_FILLED else _ZEROS
        # Nothing else in it can make zstd expand it to anything but one page, checked.
        if not frame.startswith(FRAME_HEADER):
            return None
        try:
            return self._decompressor.decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError:
            return None


def _perhaps_filled(view: memoryview) -> list[int]:
    """Indices of the pages that may be filled by one word, ascending. All others are not."""
    pages = np.frombuffer(view, np.uint64).reshape(-1, _WORDS)
    indices: list[int] = (pages[:, _SAMPLED] == pages[:, :1]).all(1).nonzero()[0].tolist()
    return indices


def _filling_word(page: bytes | memoryview) -> int | None:
    """The word that fills a page, if one does."""
    # As bytes: memoryviews are compared one element after the other.
    held = bytes(page)
    if held == _ZEROS:
        return 0
    word = int.from_bytes(held[:WORD_BYTES], "little")
    return word if held == filled_page(word) else None

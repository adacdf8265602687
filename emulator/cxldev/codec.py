"""Compression of pages, apart from the device: it needs no lock, so threads can do it in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Buffer = bytes | bytearray | memoryview
"""What a caller may hand in: contiguous bytes."""
PageData = bytes | bytearray | memoryview
"""Pages behind one another: count * 4096 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class CompressedPages:
    """Pages of a write, ready to be stored. All arrays are one entry a page. Owns all its memory."""

    sizes: NDArray[np.int64]
    """Bytes of `data` that each takes: 0 if it is same-filled, 4096 if it is stored as it is."""
    words: NDArray[np.uint64]
    """The word that fills a same-filled page."""
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
    """Bytes in the arena; 0 where it holds none, 4096 where the page was stored as it is."""
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
    """Indices of pages whose bytes do not match their checksum."""


class PageCodec:
    """Compresses and expands pages. One instance per thread: zstd contexts must not be shared."""

    def __init__(self, level: int) -> None:
        self._level = level

    def compress(self, data: Buffer) -> CompressedPages:
        """N * 4096 bytes -> N pages."""
        raise AssertionError(data)

    def expand(self, stored: StoredPages) -> ExpandedPages:
        """The pages again, each checked against its checksum."""
        raise AssertionError(stored)

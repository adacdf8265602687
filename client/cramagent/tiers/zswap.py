"""zswap: a pool of zstd-compressed pages in memory, with a limit on what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import zstandard

from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVEL: Final = 1


class Zswap:
    """Pages by handle. A page that zstd cannot shrink is stored as it is, as the kernel's zswap does."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._pool: dict[int, bytes] = {}
        self._free_handles: list[int] = []
        self._compressor = zstandard.ZstdCompressor(
            level=LEVEL, write_content_size=False, write_checksum=False
        )
        self._decompressor = zstandard.ZstdDecompressor()

    @property
    def used_bytes(self) -> int:
        """Compressed bytes held."""
        return self._used

    @property
    def limit_bytes(self) -> int:
        """Compressed bytes that may be held."""
        return self._limit

    @property
    def stored_pages(self) -> int:
        """Pages held."""
        return len(self._pool)

    def put(self, pages: Sequence[memoryview]) -> list[int]:
        """Compress and keep pages in order, until one does not fit under the limit."""
        handles = []
        for page in pages:
            shrunk = self._compressor.compress(page)
            # compress() never shrinks its buffer: keeping its result would cost more than the page.
            stored = bytes(page) if len(shrunk) >= PAGE_BYTES else bytes(memoryview(shrunk))
            if self._used + len(stored) > self._limit:
                break
            handle = self._free_handles.pop() if self._free_handles else len(self._pool)
            self._pool[handle] = stored
            self._used += len(stored)
            handles.append(handle)
        return handles

    def get(self, handle: int, into: memoryview) -> None:
        """Expand one page into a frame."""
        stored = self._pool[handle]
        if len(stored) == PAGE_BYTES:
            into[:] = stored
        else:
            into[:] = self._decompressor.decompress(stored, max_output_size=PAGE_BYTES)

    def drop(self, handle: int) -> None:
        """Forget one page."""
        self._used -= len(self._pool.pop(handle))
        self._free_handles.append(handle)

    def keep(self) -> tuple[dict[int, bytes], list[int]]:
        """All pages, compressed as they are, and the handles that are free."""
        return self._pool, self._free_handles

    def recall(self, kept: tuple[dict[int, bytes], list[int]]) -> None:
        """Hold these pages."""
        self._pool, self._free_handles = kept
        self._used = sum(map(len, self._pool.values()))

    def close(self) -> None:
        """Forget all pages."""
        self._pool.clear()
        self._free_handles.clear()
        self._used = 0

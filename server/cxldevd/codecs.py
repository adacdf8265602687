"""Codecs lent for one piece of work each: as many as work at one time, however many threads there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxldev.codec import PageCodec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cxldev.codec import Buffer, CompressedPages, ExpandedPages, PackedPage, StoredPages


class Codecs:
    """A `PageCodec` for any thread: each piece of work has one to itself, or zstd would crash.

    A codec takes 300 KB once it has compressed and expanded. One for each thread would be 12 MB with eight
    hosts, taken little by little, as calls happen to come to threads. The last one given back is lent next:
    what it uses is still in the processor's cache.
    """

    def __init__(self, level: int) -> None:
        self._level = level
        # To pop from a list and to append to it are atomic.
        self._idle: list[PageCodec] = []

    @property
    def idle(self) -> int:
        """How many there are that nobody has."""
        return len(self._idle)

    def compress(self, data: Buffer) -> CompressedPages:
        """As `PageCodec.compress`."""
        codec = self._take()
        try:
            return codec.compress(data)
        finally:
            self._idle.append(codec)

    def compress_several(self, parts: Sequence[Buffer]) -> CompressedPages:
        """As `PageCodec.compress_several`."""
        codec = self._take()
        try:
            return codec.compress_several(parts)
        finally:
            self._idle.append(codec)

    def compress_single(self, page: bytes | memoryview) -> PackedPage:
        """As `PageCodec.compress_single`."""
        codec = self._take()
        try:
            return codec.compress_single(page)
        finally:
            self._idle.append(codec)

    def expand(self, stored: StoredPages, into: memoryview | None = None) -> ExpandedPages:
        """As `PageCodec.expand`."""
        codec = self._take()
        try:
            return codec.expand(stored, into)
        finally:
            self._idle.append(codec)

    def expand_single(self, kind: int, word: int, frame: bytes) -> bytes | None:
        """As `PageCodec.expand_single`."""
        codec = self._take()
        try:
            return codec.expand_single(kind, word, frame)
        finally:
            self._idle.append(codec)

    def _take(self) -> PageCodec:
        try:
            return self._idle.pop()
        except IndexError:
            return PageCodec(self._level)

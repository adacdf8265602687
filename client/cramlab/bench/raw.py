"""Plain zstandard on one thread: what the device is measured against."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

import zstandard

from cramlab.bench.rows import PAGE_BYTES, megabytes_per_second

if TYPE_CHECKING:
    from cramlab.bench.corpus import Pages

_MULTI_PAGES: Final = 256
"""Pages in one call of `multi_*_to_buffer`; more gain nothing."""


def compress_rate(pages: Pages, level: int) -> float:
    """MB/s of compressing each page on its own: by a loop or by `multi_compress_to_buffer`, the faster."""
    compressor = zstandard.ZstdCompressor(level=level)
    frames = [page.data for page in pages]
    begun = time.perf_counter()
    for frame in frames:
        compressor.compress(frame)
    looped = time.perf_counter() - begun
    begun = time.perf_counter()
    for first in range(0, len(frames), _MULTI_PAGES):
        compressor.multi_compress_to_buffer(frames[first : first + _MULTI_PAGES], threads=1)
    return megabytes_per_second(len(frames), min(looped, time.perf_counter() - begun))


def decompress_rate(pages: Pages, level: int) -> float:
    """MB/s of decompressing each page on its own: by a loop or by `multi_decompress_to_buffer`."""
    decompressor = zstandard.ZstdDecompressor()
    frames = _compressed(pages, level)
    begun = time.perf_counter()
    for frame in frames:
        decompressor.decompress(frame)
    looped = time.perf_counter() - begun
    sizes = PAGE_BYTES.to_bytes(8, "little")
    begun = time.perf_counter()
    for first in range(0, len(frames), _MULTI_PAGES):
        part: list[bytes | bytearray | memoryview] = [*frames[first : first + _MULTI_PAGES]]
        decompressor.multi_decompress_to_buffer(part, decompressed_sizes=sizes * len(part), threads=1)
    return megabytes_per_second(len(frames), min(looped, time.perf_counter() - begun))


def page_seconds(pages: Pages, level: int, *, reads: bool) -> float:
    """Median seconds of compressing (or, if `reads`, of decompressing) one page by a call of its own."""
    taken = []
    if reads:
        decompress = zstandard.ZstdDecompressor().decompress
        for frame in _compressed(pages, level):
            begun = time.perf_counter()
            decompress(frame)
            taken.append(time.perf_counter() - begun)
    else:
        compress = zstandard.ZstdCompressor(level=level).compress
        for page in pages:
            begun = time.perf_counter()
            compress(page.data)
            taken.append(time.perf_counter() - begun)
    return median(taken)


def _compressed(pages: Pages, level: int) -> list[bytes]:
    compressor = zstandard.ZstdCompressor(level=level)
    return [compressor.compress(page.data) for page in pages]

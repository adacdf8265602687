"""What one page costs the device itself, without a wire: where many pages are stored, against few."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_most
from cxldev.codec import PageCodec
from cxldev.config import DeviceConfig
from cxldev.device import Device
from cxldev.outcomes import SessionRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cramlab.bench.corpus import Pages
    from cramlab.bench.suite import Bench

_MEDIA_BYTES: Final = 6 << 30
_BATCH: Final = 64
_BATCHES: Final = 96
"""Of each kind, in a round, for each of the two devices."""


class StoredDevice:
    """A device in this process with `pages` stored pages, in random order. No thread, no clock."""

    def __init__(self, corpus: Pages, pages: int, level: int, draw: np.random.Generator) -> None:
        config = DeviceConfig(physical_capacity_bytes=_MEDIA_BYTES, zstd_level=level)
        self._device = Device(config, generation="bench", now_ns=0)
        attached = self._device.attach(
            session="bench", host="bench", logical_bytes=pages * PAGE_BYTES, now_ns=0
        )
        self._ref = SessionRef(attached.session, attached.generation)
        self._codec = PageCodec(level)
        self._pages = pages
        most = config.max_pages_per_request
        # Each part is compressed once, however often it is stored.
        parts = [
            self._codec.compress(corpus[at : at + most].data.cast("B")) for at in range(0, len(corpus), most)
        ]
        order, at, turn = draw.permutation(pages), 0, 0
        while at < pages:
            part = parts[turn % len(parts)]
            turn += 1
            if len(part) > pages - at:
                part = self._codec.compress(corpus[: pages - at].data.cast("B"))
            dpas = _dpas(order[at : at + len(part)])
            ticket = self._device.begin_write(self._ref, dpas, len(part) * PAGE_BYTES, 0)
            self._device.commit_write(ticket, part, 0)
            at += len(part)

    def turn(self, data: Pages, draw: np.random.Generator) -> tuple[float, float]:
        """Overwrite a batch of pages at random addresses, and read another.

        Returns:
            Seconds in all, and seconds outside the codec: what the bookkeeping takes.
        """
        device, ref, codec = self._device, self._ref, self._codec
        dpas = _dpas(draw.choice(self._pages, len(data), replace=False))
        begun = time.perf_counter()
        write = device.begin_write(ref, dpas, data.nbytes, 0)
        written = time.perf_counter()
        pages = codec.compress(data.data.cast("B"))
        compressed = time.perf_counter()
        device.commit_write(write, pages, 0)
        middle = time.perf_counter()
        in_all, outside = middle - begun, middle - compressed + written - begun

        dpas = _dpas(draw.choice(self._pages, len(data), replace=False))
        begun = time.perf_counter()
        read = device.begin_read(ref, dpas, 0)
        opened = time.perf_counter()
        expanded = codec.expand(read.stored)
        closing = time.perf_counter()
        device.end_read(read, expanded, 0)
        ended = time.perf_counter()
        return in_all + ended - begun, outside + ended - closing + opened - begun


class DeviceCost:
    """Two devices, filled once, which take turns."""

    figures = (
        Figure("device-page-cost", "us", "the same device with few pages", at_most(1.10)),
        Figure("device-bookkeeping-cost", "us", "the same device with few pages"),
    )

    def __init__(self) -> None:
        self._bench: Bench | None = None

    @cached_property
    def _devices(self) -> tuple[StoredDevice, StoredDevice]:
        assert self._bench is not None, "measure sets it"
        corpus, scale, draw = self._bench.corpus, self._bench.scale, np.random.default_rng(self._bench.seed)
        many, few = (
            StoredDevice(corpus.pages, pages, corpus.zstd_level, draw)
            for pages in (scale.many_pages, scale.few_pages)
        )
        return many, few

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Us a page, of overwriting one and reading one, batches of 64: with zstd, and without.

        The median batch of each device: one that another process interrupted says nothing of it.
        """
        self._bench = bench
        taken = np.zeros((_BATCHES, 2, 2))
        for turn in taken:
            data = bench.corpus.pages[draw.choice(len(bench.corpus.pages), _BATCH, replace=False)]
            for row, device in zip(turn, self._devices, strict=True):
                row[:] = device.turn(data, draw)
        (many, many_outside), (few, few_outside) = np.median(taken, axis=0) / (2 * _BATCH) * 1e6
        return {
            "device-page-cost": Sample(float(many), float(few)),
            "device-bookkeeping-cost": Sample(float(many_outside), float(few_outside)),
        }


def _dpas(pages: NDArray[np.int64]) -> NDArray[np.uint64]:
    return pages.astype(np.uint64) * np.uint64(PAGE_BYTES)

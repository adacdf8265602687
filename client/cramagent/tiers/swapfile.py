"""The swap file: a slot bitmap in memory, the pages in a file, written with pwrite."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WINDOW: Final = 65_536
"""Slots of the bitmap that are looked at in one step."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class SwapFile:
    """Slots of 4096 bytes. The file has no name once it is open: nothing is left behind, whatever happens.

    The file grows as slots are used: the limit costs nothing until it is needed. The lowest free
    slots are taken first, so that a batch lies together and is written in few calls.

    Raises:
        OSError: the folder cannot hold the file.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._slots = limit_bytes // PAGE_BYTES
        self._taken = np.zeros(self._slots, dtype=bool)
        self._used_slots = 0
        self._lowest_free = 0
        self.disk_full = False
        """The file system had no room for the last pages that were put."""
        self._fd, path = tempfile.mkstemp(prefix="cram-agent-swap-", dir=folder)
        Path(path).unlink()

    @property
    def used_bytes(self) -> int:
        """Slots in use, bytes."""
        return self._used_slots * PAGE_BYTES

    @property
    def limit_bytes(self) -> int:
        """All slots, bytes."""
        return self._slots * PAGE_BYTES

    def put(self, pages: Sequence[memoryview]) -> list[int]:
        """Write pages to free slots in order, until there are none, or the file system is full."""
        slots = self._find_free(len(pages))
        stored = 0
        self.disk_full = False
        for start, end in _runs(slots):
            if not self._write(slots[start] * PAGE_BYTES, pages[start:end]):
                self.disk_full = True
                break
            stored = end
        handles = slots[:stored]
        self._taken[handles] = True
        self._used_slots += stored
        if handles:
            self._lowest_free = handles[-1] + 1
        return handles

    def get(self, handle: int, into: memoryview) -> None:
        """Read one slot into a frame."""
        self._check(handle)
        got = os.preadv(self._fd, [into], handle * PAGE_BYTES)
        if got != PAGE_BYTES:
            raise OSError(errno.EIO, f"the swap file gave {got} bytes of slot {handle}")

    def drop(self, handle: int) -> None:
        """Free one slot."""
        self._check(handle)
        self._taken[handle] = False
        self._used_slots -= 1
        self._lowest_free = min(self._lowest_free, handle)

    def keep(self) -> tuple[list[int], bytes]:
        """Slots in use, and what they hold, in their order."""
        slots = np.flatnonzero(self._taken).tolist()
        pages = [os.pread(self._fd, PAGE_BYTES, slot * PAGE_BYTES) for slot in slots]
        return slots, b"".join(pages)

    def recall(self, kept: tuple[list[int], bytes]) -> None:
        """Hold these slots, in an empty file. Raises OSError: the file system has no room for them."""
        slots, data = kept
        for start, end in _runs(slots):
            if not self._write(
                slots[start] * PAGE_BYTES, [memoryview(data)[start * PAGE_BYTES : end * PAGE_BYTES]]
            ):
                raise OSError(errno.ENOSPC, "no room for the swap file of the run before")
        self._taken[slots] = True
        self._used_slots = len(slots)

    def close(self) -> None:
        """Close the file; its blocks go back to the file system."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._taken[:] = False
        self._used_slots = self._lowest_free = 0

    def _check(self, handle: int) -> None:
        if not (0 <= handle < self._slots and self._taken[handle]):
            raise KeyError(handle)

    def _find_free(self, count: int) -> list[int]:
        """The lowest `count` free slots, or fewer. Every slot below `_lowest_free` is taken."""
        found: list[int] = []
        start = self._lowest_free
        while len(found) < count and start < self._slots:
            window = self._taken[start : start + _WINDOW]
            found.extend((np.flatnonzero(~window)[: count - len(found)] + start).tolist())
            start += len(window)
        return found

    def _write(self, offset: int, pages: Sequence[memoryview]) -> bool:
        """Whether all of it was written. What a full disk cut short is not counted as stored."""
        data = memoryview(b"".join(pages))
        try:
            while data:
                done = os.pwrite(self._fd, data, offset)
                data, offset = data[done:], offset + done
        except OSError as error:
            if error.errno in _NO_ROOM:
                return False
            raise
        return True


def _runs(slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Index ranges (start, end) of consecutive slots."""
    start = 0
    for index in range(1, len(slots) + 1):
        if index == len(slots) or slots[index] != slots[index - 1] + 1:
            yield start, index
            start = index

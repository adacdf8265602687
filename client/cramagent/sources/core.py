"""The pages of an ELF core file, as `gcore` or the kernel writes it."""

from __future__ import annotations

import mmap
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from cramagent.policy.settings import PAGE_BYTES
from cramagent.sources.changes import MAIN_SPACE, STORE_PAGES, SourceError, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cramagent.sources.changes import Change


@dataclass(frozen=True, slots=True)
class _Segment:
    """Pages of one PT_LOAD: `size` bytes at `offset` of the file belong to `first_vpn` and on."""

    first_vpn: int
    offset: int
    size: int

    @property
    def pages(self) -> int:
        return -(-self.size // PAGE_BYTES)


class CoreSource:
    """One core file; a vpn is the dumped process's own virtual address / 4096.

    Only bytes that the file holds count: what the dump left out (p_filesz < p_memsz) was not there,
    or was a file's.

    Raises:
        SourceError: not an ELF core, or one without memory.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, max_pages: int) -> None:
        self._left_out = 0
        with path.open("rb") as file:
            try:
                elf = ELFFile(file)
                kind = elf.header["e_type"]
                loads = [segment.header for segment in elf.iter_segments("PT_LOAD")]
            except (ELFError, UnicodeDecodeError) as error:
                raise SourceError(f"{path} is not an ELF file: {str(error) or 'it is cut short'}") from error
            if kind != "ET_CORE":
                raise SourceError(f"{path} is an ELF file, but not a core: its type is {kind}")
            size = path.stat().st_size
            self._segments = self._take(
                [
                    (head["p_vaddr"], head["p_offset"], min(head["p_filesz"], size - head["p_offset"]))
                    for head in loads
                ],
                max_pages,
            )
            if not self._segments:
                raise SourceError(f"{path} holds no memory")
            self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._view = memoryview(self._file)
        self._firsts = [segment.first_vpn for segment in self._segments]
        self._waiting = True

    def _take(self, loads: list[tuple[int, int, int]], max_pages: int) -> list[_Segment]:
        """Segments in address order, no page twice, `max_pages` at most."""
        segments: list[_Segment] = []
        room, next_vpn = max_pages, 0
        for address, offset, size in sorted(loads):
            first = address // PAGE_BYTES
            if size <= 0 or address % PAGE_BYTES or first < next_vpn:
                continue
            segment = _Segment(first, offset, size)
            taken = min(segment.pages, room)
            self._left_out += segment.pages - taken
            if taken:
                segments.append(_Segment(first, offset, min(size, taken * PAGE_BYTES)))
            room -= taken
            next_vpn = first + segment.pages
        return segments

    @property
    def pages(self) -> int:
        """Pages taken from the file."""
        return sum(segment.pages for segment in self._segments)

    @property
    def pages_left_out(self) -> int:
        """Pages beyond `max_pages`."""
        return self._left_out

    @property
    def ended(self) -> bool:
        """Never: a core does not change."""
        return False

    def scan(self) -> Iterator[Change | None]:
        """All pages, once."""
        if not self._waiting:
            return
        self._waiting = False
        for segment in self._segments:
            for start in range(0, segment.size, STORE_PAGES * PAGE_BYTES):
                size = min(STORE_PAGES * PAGE_BYTES, segment.size - start)
                data: bytes | memoryview = self._view[segment.offset + start : segment.offset + start + size]
                if size % PAGE_BYTES:
                    data = bytes(data) + bytes(-size % PAGE_BYTES)
                first = segment.first_vpn + start // PAGE_BYTES
                yield Store(MAIN_SPACE, tuple(range(first, first + len(data) // PAGE_BYTES)), data)

    def page(self, space: int, vpn: int) -> bytes | None:
        """One page of the file."""
        assert space == MAIN_SPACE, space
        index = bisect_right(self._firsts, vpn) - 1
        if index < 0:
            return None
        segment = self._segments[index]
        start = (vpn - segment.first_vpn) * PAGE_BYTES
        if start >= segment.size:
            return None
        end = min(start + PAGE_BYTES, segment.size)
        return bytes(self._view[segment.offset + start : segment.offset + end]).ljust(PAGE_BYTES, b"\0")

    def rewrite(self, space: int, vpns: Sequence[int]) -> Store | None:
        """The pages' own bytes again: a core knows no others."""
        found = [(vpn, data) for vpn in vpns if (data := self.page(space, vpn)) is not None]
        if not found:
            return None
        return Store(space, tuple([vpn for vpn, _ in found]), b"".join([data for _, data in found]))

    def killed(self, space: int) -> None:
        """Everything is stored anew by the next scan."""
        assert space == MAIN_SPACE, space
        self._waiting = True

    def keep(self) -> bool:
        """Whether its pages are still to be stored; they are in the file themselves."""
        return self._waiting

    def recall(self, kept: bool) -> None:
        """Go on behind that."""
        self._waiting = kept

    def close(self) -> None:
        """Unmap the file; where a page of it is still held (by a traceback), with that one."""
        self._view.release()
        with suppress(BufferError):
            self._file.close()

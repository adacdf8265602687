"""Shadows a live process: its private anonymous pages, read through /proc.

The process is never stopped, so a page may be caught in the middle of a store: whatever bytes were
read are the ones that the shadow holds, and the next scan brings the later ones. Only pages that
are present (or swapped out by the real kernel) are read; mappings of files and devices, and the
kernel's own ([vvar], [vdso], [vsyscall]), are left alone.
"""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from cramagent.policy.settings import PAGE_BYTES
from cramagent.sources.changes import MAIN_SPACE, STORE_PAGES, Free, SourceError, Store
from cramagent.truth import digest, digest_pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramagent.sources.changes import Change

_PAGEMAP_ENTRY_BYTES: Final = 8
_PAGEMAP_CHUNK_PAGES: Final = 131_072
_PRESENT_OR_SWAPPED: Final = np.uint64(0b11 << 62)
_FILE_OR_SHARED: Final = np.uint64(1 << 61)
_SHADOWED_NAMES: Final = ("[heap]", "[stack", "[anon")
"""What names an anonymous mapping may carry; other names in brackets are the kernel's own."""
_GONE: Final = (errno.ESRCH, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Run:
    """Virtual page numbers first..first+pages-1, all of them there."""

    first: int
    pages: int


def parse_maps(text: str) -> list[tuple[int, int]]:
    """(start, end) addresses of the private, writable, anonymous mappings in a /proc/PID/maps."""
    mappings = []
    for line in text.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 5:
            continue
        addresses, mode, _offset, device, inode = fields[:5]
        name = fields[5] if len(fields) > 5 else ""
        anonymous = inode == "0" and device == "00:00" and (not name or name.startswith(_SHADOWED_NAMES))
        if anonymous and mode.startswith("rw") and mode.endswith("p"):
            start, end = addresses.split("-")
            mappings.append((int(start, 16), int(end, 16)))
    return mappings


class PidSource:
    """One process. Its space is space 0; a vpn is its own virtual address / 4096.

    Args:
        pid: whose memory.
        max_pages: pages taken, lowest addresses first.
        unnoticed: share of the pages that go away without the host being told, 0..1.
        seed: of which ones.

    Raises:
        SourceError: no such process, or this user may not read its memory.
    """

    def __init__(self, pid: int, max_pages: int, *, unnoticed: float = 0.0, seed: int = 0) -> None:
        self._unnoticed = unnoticed
        self._random = random.Random(seed)
        self._proc = f"/proc/{pid}"
        self._name = f"process {pid}"
        self._max_pages = max_pages
        self._seen: dict[int, int] = {}
        self._ended = False
        self._left_out = 0
        self._memory = self._pagemap = -1
        try:
            self._started = self._start_time()
            self._memory = os.open(f"{self._proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
            self._pagemap = os.open(f"{self._proc}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            self._pages = sum(run.pages for run in self._present())
            first = next(iter(self._present()), None)
            if first is not None:
                os.pread(self._memory, 1, first.first * PAGE_BYTES)
        except PermissionError as error:
            self.close()
            raise SourceError(
                f"{self._name} cannot be read: run as its user or as root, and see kernel.yama.ptrace_scope"
            ) from error
        except OSError as error:
            self.close()
            raise SourceError(
                f"no {self._name}"
                if error.errno in _GONE
                else f"{self._name} cannot be read: {error.strerror}"
            ) from error
        if self._pages == 0:
            self.close()
            raise SourceError(f"{self._name} has no anonymous memory (is it a kernel thread, or a zombie?)")

    @property
    def pages(self) -> int:
        """Anonymous pages when it was opened, at most `max_pages`."""
        return min(self._pages, self._max_pages)

    @property
    def pages_left_out(self) -> int:
        """Pages beyond `max_pages`, highest addresses first."""
        return self._left_out

    @property
    def ended(self) -> bool:
        """Whether the process exited, or became another program."""
        return self._ended

    def scan(self) -> Iterator[Change | None]:
        """Stores of pages that are new or whose bytes changed; frees of those that went away.

        A process that ends in the middle of a scan ends the scan: what was seen last stays as it is.
        """
        try:
            yield from self._scan()
        except OSError as error:
            if error.errno not in (*_GONE, errno.EACCES, errno.EPERM):
                raise
            self._ended = True

    def _scan(self) -> Iterator[Change | None]:
        present: set[int] = set()
        budget = self._max_pages
        self._left_out = 0
        for run in list(self._present()):
            taken = min(run.pages, budget - len(present))
            self._left_out += run.pages - taken
            for first in range(run.first, run.first + taken, STORE_PAGES):
                count = min(STORE_PAGES, run.first + taken - first)
                for start, data in self._read(first, count):
                    vpns = range(start, start + len(data) // PAGE_BYTES)
                    present.update(vpns)
                    yield self._changed(vpns, data)
                if self._ended:
                    return
        if not self._alive():
            self._ended = True
            return
        gone = tuple(vpn for vpn in self._seen if vpn not in present)
        for vpn in gone:
            del self._seen[vpn]
        # /proc tells that pages went, not how: which of them the host missed is drawn.
        missed = {vpn for vpn in gone if self._random.random() < self._unnoticed}
        if len(missed) < len(gone):
            yield Free(MAIN_SPACE, tuple(vpn for vpn in gone if vpn not in missed))
        if missed:
            yield Free(MAIN_SPACE, tuple(sorted(missed)), noticed=False)

    def _changed(self, vpns: range, data: bytes) -> Store | None:
        seen = self._seen
        digests = digest_pages(data)
        changed = [index for index, vpn in enumerate(vpns) if seen.get(vpn) != digests[index]]
        if not changed:
            return None
        view = memoryview(data)
        stored = (
            data
            if len(changed) == len(vpns)
            else b"".join([view[index * PAGE_BYTES : (index + 1) * PAGE_BYTES] for index in changed])
        )
        for index in changed:
            seen[vpns[index]] = digests[index]
        return Store(
            MAIN_SPACE,
            tuple(vpns[index] for index in changed),
            stored,
            tuple(digests[index] for index in changed),
        )

    def page(self, space: int, vpn: int) -> bytes | None:
        """What the process holds there now. None after its end, too: those bytes are nowhere any more."""
        assert space == MAIN_SPACE, space
        data = b"".join(data for _, data in self._read(vpn, 1))
        if len(data) != PAGE_BYTES:
            self._seen.pop(vpn, None)
            return None
        self._seen[vpn] = digest(data)
        return data

    def rewrite(self, space: int, vpns: Sequence[int]) -> None:
        """None: its stores are seen, and need not be drawn."""

    def killed(self, space: int) -> None:
        """The shadow begins anew: all pages are stored again by the next scan. The real process goes on."""
        assert space == MAIN_SPACE, space
        self._seen.clear()

    def close(self) -> None:
        """Close the files under /proc."""
        for descriptor in (self._memory, self._pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self._memory = self._pagemap = -1

    # -- /proc ------------------------------------------------------------------------------------

    def _start_time(self) -> str:
        """Tells one process from a later one with the same number (field 22 of /proc/PID/stat)."""
        with Path(f"{self._proc}/stat").open(encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[19]

    def _alive(self) -> bool:
        """Whether the memory that we hold open is still a process's."""
        try:
            return self._start_time() == self._started and os.pread(self._pagemap, 8, 0) != b""
        except OSError:
            return False

    def _present(self) -> Iterator[Run]:
        """Runs of pages that hold bytes, in address order."""
        with Path(f"{self._proc}/maps").open(encoding="utf-8", errors="replace") as maps:
            mappings = parse_maps(maps.read())
        for start, end in mappings:
            yield from self._present_between(start // PAGE_BYTES, end // PAGE_BYTES)

    def _present_between(self, first: int, end: int) -> Iterator[Run]:
        for chunk in range(first, end, _PAGEMAP_CHUNK_PAGES):
            pages = min(_PAGEMAP_CHUNK_PAGES, end - chunk)
            raw = os.pread(self._pagemap, pages * _PAGEMAP_ENTRY_BYTES, chunk * _PAGEMAP_ENTRY_BYTES)
            entries = np.frombuffer(raw[: len(raw) // 8 * 8], dtype=np.uint64)
            there = (entries & _PRESENT_OR_SWAPPED != 0) & (entries & _FILE_OR_SHARED == 0)
            # Where `there` turns on and off, alternately.
            edges = np.flatnonzero(np.diff(there.astype(np.int8), prepend=0, append=0)).tolist()
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                yield Run(chunk + start, stop - start)

    def _read(self, first: int, pages: int) -> Iterator[tuple[int, bytes]]:
        """(vpn, bytes) of what can be read of a run; pages that vanished in the meantime are left out."""
        try:
            data = os.pread(self._memory, pages * PAGE_BYTES, first * PAGE_BYTES)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EFAULT):
                raise
            data = None
        if data == b"":
            # Its memory is gone: it exited, or executed another program.
            self._ended = True
        elif data is not None and len(data) == pages * PAGE_BYTES:
            yield first, data
        elif pages > 1:
            for vpn in range(first, first + pages):
                yield from self._read(vpn, 1)

"""A file, or every file under a folder, page by page. The last page of each file is padded with zeros."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cramagent.policy.settings import PAGE_BYTES
from cramagent.sources.changes import MAIN_SPACE, STORE_PAGES, SourceError, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import FileIO
    from pathlib import Path

    from cramagent.sources.changes import Change


@dataclass(frozen=True, slots=True)
class _Placed:
    """A file and where its pages begin."""

    path: Path
    first_vpn: int
    pages: int


class FileSource:
    """Files in the order of their paths, one behind the other; symbolic links and empty files are left out.

    A file that shrinks or goes away while the run lasts has no such page any more; one that is
    changed is seen only where a page is read again.

    Raises:
        SourceError: nothing there to read.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, max_pages: int) -> None:
        self._files: list[_Placed] = []
        self._left_out = 0
        self._pages = 0
        for file, size in _files_under(path):
            pages = -(-size // PAGE_BYTES)
            taken = min(pages, max_pages - self._pages)
            self._left_out += pages - taken
            if taken:
                self._files.append(_Placed(file, self._pages, taken))
                self._pages += taken
        if not self._files:
            raise SourceError(f"{path} holds no bytes")
        # A file that this user may not read is better found now than in the middle of a run.
        for placed in self._files:
            placed.path.open("rb").close()
        self._firsts = [placed.first_vpn for placed in self._files]
        self._waiting = True
        self._open: tuple[Path, os.stat_result, FileIO] | None = None

    @property
    def pages(self) -> int:
        """Pages of all files taken."""
        return self._pages

    @property
    def pages_left_out(self) -> int:
        """Pages beyond `max_pages`."""
        return self._left_out

    @property
    def ended(self) -> bool:
        """Never: files stay."""
        return False

    def scan(self) -> Iterator[Change | None]:
        """All pages, once."""
        if not self._waiting:
            return
        self._waiting = False
        for placed in self._files:
            try:
                file = placed.path.open("rb", buffering=0)
            except FileNotFoundError:
                continue
            with file:
                for start in range(0, placed.pages, STORE_PAGES):
                    count = min(STORE_PAGES, placed.pages - start)
                    data = os.pread(file.fileno(), count * PAGE_BYTES, start * PAGE_BYTES)
                    data += bytes(-len(data) % PAGE_BYTES)
                    first = placed.first_vpn + start
                    vpns = tuple(range(first, first + len(data) // PAGE_BYTES))
                    if vpns:
                        yield Store(MAIN_SPACE, vpns, data)

    def page(self, space: int, vpn: int) -> bytes | None:
        """One page, read now."""
        found = self.rewrite(space, (vpn,))
        return None if found is None else bytes(found.data)

    def rewrite(self, space: int, vpns: Sequence[int]) -> Store | None:
        """The pages' own bytes again, read now: a file knows no others. Neighbours are one read."""
        assert space == MAIN_SPACE, space
        found: list[int] = []
        data = memoryview(bytearray(len(vpns) * PAGE_BYTES))
        start, last, opened = 0, None, None
        while start < len(vpns):
            first = vpns[start]
            placed = self._files[bisect_right(self._firsts, first) - 1]
            most = min(len(vpns) - start, placed.first_vpn + placed.pages - first)
            count = 1
            while count < most and vpns[start + count] == first + count:
                count += 1
            start += count
            if most <= 0:
                continue
            if placed is not last:
                last, opened = placed, self._opened(placed.path)
            if opened is not None:
                into = data[len(found) * PAGE_BYTES : (len(found) + count) * PAGE_BYTES]
                got = os.preadv(opened, [into], (first - placed.first_vpn) * PAGE_BYTES)
                found.extend(range(first, first + -(-got // PAGE_BYTES)))
        return Store(space, tuple(found), data[: len(found) * PAGE_BYTES]) if found else None

    def _opened(self, path: Path) -> int | None:
        """The file of that name, kept open for the next page; opened anew if it is another one by now.

        None: there is none any more.
        """
        try:
            return self._open_now(path)
        except FileNotFoundError:
            return None

    def _open_now(self, path: Path) -> int:
        now = path.stat()
        if self._open is not None:
            name, of, file = self._open
            if name == path and (of.st_dev, of.st_ino) == (now.st_dev, now.st_ino):
                return file.fileno()
            file.close()
            self._open = None
        file = path.open("rb", buffering=0)
        self._open = path, os.fstat(file.fileno()), file
        return file.fileno()

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
        """The file whose pages were read last."""
        if self._open is not None:
            self._open[2].close()
            self._open = None


def _files_under(path: Path) -> Iterator[tuple[Path, int]]:
    """(file, bytes) of a file, or of the files under a folder."""
    if path.is_file():
        yield path, path.stat().st_size
        return
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        status = file.lstat()
        if file.is_file() and not file.is_symlink() and status.st_size:
            yield file, status.st_size

"""Expanding frames that stand behind one another, in one call that lets other threads run all the while.

`zstandard`'s own reader takes the interpreter back behind every frame: with two threads at work, each page
then costs a handover, which is as long as expanding it. libzstd takes a whole row at once. Where there is no
libzstd (every Debian, Fedora and Alpine with a package manager has it), the reader does the same, slower.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Final, Protocol

import zstandard

from cxldev.config import PAGE_BYTES
from cxldev.frames import ZERO_FRAME

_LIBRARY: Final = "libzstd.so.1"


class RowExpander(Protocol):
    """One instance per thread."""

    def expand(self, row: bytes, out: memoryview) -> bool:
        """Expand all frames of `row` to `out`, as long as it is. False: they are damaged, or of other length.

        `out` may then hold anything. Who else can write to it spoils its bytes, and nothing beside them.
        """
        ...


class ReaderExpander:
    """With `zstandard` alone."""

    def __init__(self, decompressor: zstandard.ZstdDecompressor) -> None:
        self._decompressor = decompressor

    def expand(self, row: bytes, out: memoryview) -> bool:
        """See `RowExpander`."""
        # The reader stops once `out` is full: it never looks at what the last frame has behind its page. That
        # it comes through one frame more shows that it was content with the checksum there.
        reader = self._decompressor.stream_reader(row + ZERO_FRAME, read_across_frames=True)
        try:
            return reader.readinto(out) == len(out) and reader.read(PAGE_BYTES + 1) == bytes(PAGE_BYTES)
        except zstandard.ZstdError:
            return False


class LibraryExpander:
    """With the system's libzstd."""

    def __init__(self, library: ctypes.CDLL) -> None:
        context: int | None = library.ZSTD_createDCtx()
        if not context:
            raise MemoryError("libzstd has no memory for a decompression context")
        self._context = context
        self._expand = library.ZSTD_decompressDCtx
        # Not at exit: a thread that nobody waited for may still be using it.
        weakref.finalize(self, library.ZSTD_freeDCtx, context).atexit = False

    def expand(self, row: bytes, out: memoryview) -> bool:
        """See `RowExpander`. An error is a number that is larger than any length."""
        size = len(out)
        into = ctypes.c_char.from_buffer(out)
        found: int = self._expand(self._context, ctypes.byref(into), size, row, len(row))
        return found == size


def row_expander(decompressor: zstandard.ZstdDecompressor, library: str = _LIBRARY) -> RowExpander:
    """The fastest that there is here. `decompressor` is used by nobody else meanwhile."""
    loaded = _loaded.get(library)
    if loaded is None and library not in _loaded:
        loaded = _loaded[library] = _load(library)
    return ReaderExpander(decompressor) if loaded is None else LibraryExpander(loaded)


_loaded: Final[dict[str, ctypes.CDLL | None]] = {}


def _load(name: str) -> ctypes.CDLL | None:
    """The library, its functions declared; None where it is not installed."""
    try:
        library = ctypes.CDLL(name)
        create, free, expand = library.ZSTD_createDCtx, library.ZSTD_freeDCtx, library.ZSTD_decompressDCtx
    except (OSError, AttributeError):
        return None
    create.argtypes, create.restype = (), ctypes.c_void_p
    free.argtypes, free.restype = (ctypes.c_void_p,), ctypes.c_size_t
    expand.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    expand.restype = ctypes.c_size_t
    return library

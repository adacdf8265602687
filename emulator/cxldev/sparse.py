"""Memory that costs nothing until it is touched."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAP_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0x4000)
"""Of Linux, asm-generic; Python names it from 3.13 on. Without it, huge sparse maps may be refused."""
_SMALL_BYTES: Final = 1 << 20
"""Below this, plain memory: a map of its own costs a system call and at least a page."""

Scalar = TypeVar("Scalar", bound=np.generic)


def sparse_memory(size: int) -> memoryview:
    """Zeroed, writable, flat memory of `size` bytes; pages exist from the first write on.

    It is unmapped when the last view of it is gone.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    return memoryview(mmap.mmap(-1, max(size, 1), flags=flags))[:size]


def let_memory_go(memory: memoryview, start: int, length: int) -> None:
    """Make a part of `sparse_memory`, whole pages of the system, as if it had never been touched."""
    mapped = memory.obj
    assert isinstance(mapped, mmap.mmap), mapped
    mapped.madvise(mmap.MADV_DONTNEED, start, length)


def sparse_zeros(count: int, dtype: type[Scalar]) -> NDArray[Scalar]:
    """An array of zeros.

    `numpy.zeros` is as lazy only while malloc maps large blocks; a service may have told it not to.
    """
    size = count * np.dtype(dtype).itemsize
    if size < _SMALL_BYTES:
        return np.zeros(count, dtype)
    return np.frombuffer(sparse_memory(size), dtype)

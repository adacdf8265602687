"""The pages that the bench writes: memory of real processes, with zero and random pages mixed in."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import zstandard

from cramlab.bench.rows import PAGE_BYTES
from cramlab.processes import ProgramProcess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pages = NDArray[np.uint8]

ZERO_SHARE: Final = 0.10
RANDOM_SHARE: Final = 0.06
"""About what measured process memory holds of pages that save nothing."""
_CHUNK_BYTES: Final = 8 << 20
"""Read at one time: a mapping may be much larger than what is held of it."""
_PROGRAMS: Final = ("sqlite_store", "json_documents", "numeric_arrays")


@dataclass(frozen=True, slots=True)
class Corpus:
    """N pages in random order, shape (N, 4096), and what they are made of."""

    pages: Pages
    process_pages: int
    zero_pages: int
    random_pages: int
    zstd_level: int
    ratio_milli: int
    """Of one zstd frame a page, zero pages included; no sectors, no metadata."""

    def facts(self) -> dict[str, Any]:
        """As they stand in the JSON."""
        return {
            "pages": len(self.pages),
            "process_pages": self.process_pages,
            "zero_pages": self.zero_pages,
            "random_pages": self.random_pages,
            "zstd_level": self.zstd_level,
            "ratio_milli": self.ratio_milli,
        }


def gather(folder: Path, count: int, *, seed: int, zstd_level: int) -> Corpus:
    """Start the demo's programs, and draw pages from their memory.

    Args:
        folder: for the programs' logs.
        count: pages in all.
        seed: of the programs, the draw and the random pages.
        zstd_level: for the ratio only.

    Raises:
        ProcessError: a program did not start.
        OSError: its memory may not be read.
    """
    zero, noise = int(count * ZERO_SHARE), int(count * RANDOM_SHARE)
    wanted = count - zero - noise
    # Each holds somewhat more than its share, so that a draw is a draw.
    mib = max(4, wanted * PAGE_BYTES // len(_PROGRAMS) * 3 // 2 >> 20)
    options = ["--mib", str(mib), "--seed", str(seed)]
    with ExitStack() as stack:
        programs = [stack.enter_context(ProgramProcess(folder, name, args=options)) for name in _PROGRAMS]
        found = np.concatenate([process_pages(program.pid) for program in programs])
    draw = np.random.default_rng(seed)
    chosen = found[draw.choice(len(found), wanted, replace=len(found) < wanted)]
    pages = np.concatenate(
        [
            chosen,
            np.zeros((zero, PAGE_BYTES), dtype=np.uint8),
            draw.integers(0, 256, (noise, PAGE_BYTES), dtype=np.uint8),
        ]
    )
    draw.shuffle(pages)
    compressor = zstandard.ZstdCompressor(level=zstd_level)
    compressed = sum(len(compressor.compress(page.data)) for page in pages)
    return Corpus(pages, wanted, zero, noise, zstd_level, 1000 * pages.nbytes // compressed)


def process_pages(pid: int) -> Pages:
    """The private, writable, anonymous pages of a process that are not all zeros, shape (N, 4096).

    Raises:
        OSError: no such process, or its memory may not be read.
    """
    parts: list[Pages] = []
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            addresses, mode, _offset, _device, inode, *name = line.split(maxsplit=5)
            if not mode.startswith("rw") or not mode.endswith("p") or inode != "0":
                continue
            if name and name[0].startswith("[v"):  # the kernel's own: [vvar], [vdso], [vsyscall]
                continue
            start, end = (int(part, 16) for part in addresses.split("-"))
            for first in range(start, end, _CHUNK_BYTES):
                data = os.pread(memory, min(_CHUNK_BYTES, end - first), first)
                held = np.frombuffer(data[: len(data) // PAGE_BYTES * PAGE_BYTES], dtype=np.uint8)
                pages = held.reshape(-1, PAGE_BYTES)
                parts.append(pages[pages.any(axis=1)])
    finally:
        os.close(memory)
    return np.concatenate(parts) if parts else np.zeros((0, PAGE_BYTES), dtype=np.uint8)

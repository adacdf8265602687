"""What a process takes of this machine, as /proc tells it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """One look at one process."""

    memory_bytes: int
    """Memory that is really there."""
    threads: int
    files: int
    """Open file descriptors."""


def read_usage(pid: int) -> Usage:
    """How it stands now.

    Raises:
        OSError: no such process, or another user's.
    """
    return Usage(
        resident_bytes(pid),
        len(list(Path(f"/proc/{pid}/task").iterdir())),
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


def resident_bytes(pid: int) -> int:
    """Memory of a process that is really there (VmRSS).

    Raises:
        OSError: no such process.
    """
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

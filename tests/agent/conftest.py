"""Fixtures of the agent's tests."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from agent_helpers import Rig, rig_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A workload over a device in memory, with 64 frames of DRAM."""
    with rig_of(tmp_path) as made:
        yield made


_VICTIM = """
import ctypes, mmap, sys
memory = mmap.mmap(-1, 16 * 4096, mmap.MAP_PRIVATE)
memory[:] = b"marked!!" * (16 * 512)
print(ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)
libc = ctypes.CDLL(None)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
for line in sys.stdin:
    order, _, page = line.strip().partition(" ")
    if order == "exit":
        break
    at = int(page) * 4096
    if order == "store":
        memory[at : at + 4096] = b"changed!" * 512
    elif order == "free":
        libc.munmap(start + at, 4096)
    print("done", flush=True)
"""


@pytest.fixture
def victim_command() -> list[str]:
    """A program with 16 marked pages of anonymous memory; it says where, then takes orders."""
    return [sys.executable, "-c", _VICTIM]

"""ELF cores as sources: one made by hand, and one that gdb's gcore makes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_helpers import PAGE, noise
from cramagent.sources import SourceError, Store
from cramagent.sources.core import CoreSource

if TYPE_CHECKING:
    from pathlib import Path

_ET_EXEC, _ET_CORE = 2, 4
_PT_LOAD, _PT_NOTE = 1, 4


def make_core(path: Path, loads: list[tuple[int, bytes, int]], *, kind: int = _ET_CORE) -> None:
    """An ELF file of 64 bits with one PT_LOAD for each (address, bytes in the file, size in memory)."""
    headers = [(_PT_NOTE, 0, b"", 0), *((_PT_LOAD, *load) for load in loads)]
    offset = 64 + 56 * len(headers)
    table, body = b"", b""
    for type_, address, data, in_memory in headers:
        table += struct.pack("<IIQQQQQQ", type_, 6, offset + len(body), address, 0, len(data), in_memory, 1)
        body += data
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0, 64, 0, 0, 64, 56, len(headers), 0, 0, 0)
    path.write_bytes(ident + header + table + body)


def stored(source: CoreSource) -> dict[int, bytes]:
    """All pages that one scan stores, by vpn."""
    pages = {}
    for change in source.scan():
        assert isinstance(change, Store)
        for index, vpn in enumerate(change.vpns):
            pages[vpn] = bytes(change.data[index * PAGE : (index + 1) * PAGE])
    return pages


def test_pages_lie_where_the_process_had_them(tmp_path: Path) -> None:
    """By virtual address; what the dump left out is not there; a cut page is padded."""
    make_core(
        tmp_path / "core",
        [
            (0x7000_0000, noise(1) + noise(2), 4 * PAGE),
            (0x10000, noise(3) + b"half", 2 * PAGE),
            (0x9000_0000, b"", PAGE),
        ],
    )
    source = CoreSource(tmp_path / "core", 100)
    assert source.pages == 4
    assert stored(source) == {
        0x10: noise(3),
        0x11: b"half".ljust(PAGE, b"\0"),
        0x70000: noise(1),
        0x70001: noise(2),
    }
    assert stored(source) == {}
    assert source.page(0, 0x11) == b"half".ljust(PAGE, b"\0")
    assert source.rewrite(0, (0x90000, 0x70001)) == Store(0, (0x70001,), noise(2))
    assert source.rewrite(0, (0x90000,)) is None
    assert [source.page(0, vpn) for vpn in (0, 0x12, 0x70002, 0x90000)] == [None] * 4
    source.killed(0)
    assert len(stored(source)) == 4
    source.close()


def test_only_so_many_pages_are_taken(tmp_path: Path) -> None:
    """Lowest addresses first; the rest is counted."""
    make_core(tmp_path / "core", [(0x10000, noise(1) * 3, 3 * PAGE), (0x20000, noise(2) * 3, 3 * PAGE)])
    source = CoreSource(tmp_path / "core", 4)
    assert sorted(stored(source)) == [0x10, 0x11, 0x12, 0x20]
    assert source.pages_left_out == 2
    source.close()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not an ELF file"),
        (b"text", "is not an ELF file"),
        (b"\x7fELF\x02\x01\x01", "is not an ELF file"),
    ],
)
def test_what_is_no_elf_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """Empty, text, and a header that is cut short."""
    (tmp_path / "core").write_bytes(content)
    with pytest.raises(SourceError, match=why):
        CoreSource(tmp_path / "core", 10)


def test_a_program_is_no_core(tmp_path: Path) -> None:
    """An ELF file, but of another type."""
    make_core(tmp_path / "program", [(0x10000, noise(1), PAGE)], kind=_ET_EXEC)
    with pytest.raises(SourceError, match="not a core: its type is ET_EXEC"):
        CoreSource(tmp_path / "program", 10)


def test_a_core_without_memory_is_refused(tmp_path: Path) -> None:
    """Nothing to run on."""
    make_core(tmp_path / "core", [])
    with pytest.raises(SourceError, match="holds no memory"):
        CoreSource(tmp_path / "core", 10)


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("gcore") is None, reason="gcore (gdb) is not installed: make tools")
def test_a_core_of_gcore(tmp_path: Path, victim_command: list[str]) -> None:
    """A real process' marked page is found in its core at the address that it said."""
    with subprocess.Popen(victim_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        address = int(victim.stdout.readline())
        dumped = subprocess.run(
            ["gcore", "-o", str(tmp_path / "core"), str(victim.pid)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        victim.kill()
        assert dumped.returncode == 0, dumped.stderr
    source = CoreSource(tmp_path / f"core.{victim.pid}", 1_000_000)
    assert source.page(0, address // PAGE) == b"marked!!" * (PAGE // 8)
    assert len(stored(source)) == source.pages > 100
    source.close()

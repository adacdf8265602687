"""A live process as a source: what it stores, frees and leaves behind is seen."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_helpers import PAGE
from cramagent.sources import Free, SourceError, Store
from cramagent.sources.pid import PidSource, parse_maps

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKED = b"marked!!" * (PAGE // 8)

MAPS = """\
55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234 /usr/bin/python3
55d0c0002000-55d0c0003000 rw-p 00002000 fe:00 1234 /usr/bin/python3
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000100000 rw-p 00000000 00:00 0
7f0000100000-7f0000200000 rw-s 00000000 00:01 99 /dev/zero (deleted)
7f0000200000-7f0000300000 ---p 00000000 00:00 0
7f0000300000-7f0000301000 rw-p 00000000 00:00 0 [anon:some name]
7f0000400000-7f0000500000 rw-p 00000000 00:05 7 /dev/dri/card0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
7ffc00100000-7ffc00104000 r--p 00000000 00:00 0 [vvar]
7ffc00104000-7ffc00106000 r-xp 00000000 00:00 0 [vdso]
7ffc00108000-7ffc00109000 rw-p 00000000 00:00 0 [vvar_vclock]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
"""


def test_only_private_anonymous_memory_is_shadowed() -> None:
    """Heap, stack, named and nameless; no file, no device, nothing shared, none of the kernel's own."""
    assert parse_maps(MAPS) == [
        (0x55D0C1000000, 0x55D0C1021000),
        (0x7F0000000000, 0x7F0000100000),
        (0x7F0000300000, 0x7F0000301000),
        (0x7FFC00000000, 0x7FFC00021000),
    ]


class Victim:
    """A real process with 16 marked pages; it does what it is told, and says when it is done."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.first_vpn = int(self._hear()) // PAGE

    def _hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, order: str) -> None:
        """`store N`, `free N` or `exit`; it has happened when this returns."""
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        if order == "exit":
            self.process.wait(30)
        else:
            assert self._hear() == "done\n"


@pytest.fixture
def victim(victim_command: list[str]) -> Iterator[Victim]:
    """A process to shadow."""
    with subprocess.Popen(
        victim_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Victim(process)
        process.kill()


def scan(source: PidSource) -> tuple[dict[int, bytes], dict[int, bool]]:
    """(pages stored, pages freed and whether that was noticed) of one scan."""
    stored, freed = {}, {}
    for change in source.scan():
        if isinstance(change, Store):
            for index, vpn in enumerate(change.vpns):
                stored[vpn] = bytes(change.data[index * PAGE : (index + 1) * PAGE])
        elif isinstance(change, Free):
            freed.update(dict.fromkeys(change.vpns, change.noticed))
    return stored, freed


@pytest.mark.e2e
def test_the_first_scan_stores_everything(victim: Victim) -> None:
    """All marked pages, at the process' own addresses."""
    source = PidSource(victim.process.pid, 1_000_000)
    stored, freed = scan(source)
    assert all(stored[victim.first_vpn + page] == MARKED for page in range(16))
    assert source.pages <= len(stored) + 50
    assert not freed
    source.close()


@pytest.mark.e2e
def test_later_scans_bring_what_changed(victim: Victim) -> None:
    """A store brings its page with the new bytes, an unmapped page is freed, the others are left alone."""
    source = PidSource(victim.process.pid, 1_000_000)
    scan(source)
    victim.tell("store 3")
    victim.tell("free 15")
    stored, freed = scan(source)
    assert stored[victim.first_vpn + 3] == b"changed!" * (PAGE // 8)
    assert freed[victim.first_vpn + 15] is True
    assert not {victim.first_vpn + page for page in range(16) if page != 3} & set(stored)
    source.close()


@pytest.mark.e2e
def test_frees_may_go_unnoticed(victim: Victim) -> None:
    """All of them, where the share is 1."""
    source = PidSource(victim.process.pid, 1_000_000, unnoticed=1.0)
    scan(source)
    victim.tell("free 15")
    assert scan(source)[1][victim.first_vpn + 15] is False
    source.close()


@pytest.mark.e2e
def test_the_end_of_the_process_ends_the_source(victim: Victim) -> None:
    """What was seen stays as it is: nothing is freed; no page can be read again."""
    source = PidSource(victim.process.pid, 1_000_000)
    scan(source)
    assert source.page(0, victim.first_vpn) == MARKED
    victim.tell("exit")
    assert scan(source) == ({}, {})
    assert source.ended
    assert source.page(0, victim.first_vpn) is None
    source.close()


@pytest.mark.e2e
def test_a_killed_shadow_begins_anew(victim: Victim) -> None:
    """All pages are stored again."""
    source = PidSource(victim.process.pid, 1_000_000)
    first, _ = scan(source)
    source.killed(0)
    again, _ = scan(source)
    assert victim.first_vpn in again
    assert len(again) >= len(first) - 50
    source.close()


@pytest.mark.e2e
def test_only_so_many_pages_are_taken(victim: Victim) -> None:
    """The rest is counted."""
    source = PidSource(victim.process.pid, 20)
    assert source.pages == 20
    assert len(scan(source)[0]) == 20
    assert source.pages_left_out > 0
    source.close()


def test_a_kernel_thread_has_no_memory() -> None:
    """Process 2 is kthreadd, or, in a container, not there at all, or not ours."""
    with pytest.raises(SourceError, match="process 2"):
        PidSource(2, 10)

"""The tiers behind the node really store, and say when they are full."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from agent_helpers import PAGE, noise, prose
from cramagent.tiers.swapfile import SwapFile
from cramagent.tiers.zswap import Zswap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cramagent.tiers import TierStore


def pages(*data: bytes) -> list[memoryview]:
    """Pages as a tier is given them."""
    return [memoryview(page) for page in data]


def fetch(tier: TierStore, handle: int) -> bytes:
    """One page out of a tier."""
    into = bytearray(PAGE)
    tier.get(handle, memoryview(into))
    return bytes(into)


@pytest.fixture(params=["zswap", "swapfile"])
def tier(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TierStore]:
    """Either tier, with room for eight raw pages."""
    made: TierStore = Zswap(8 * PAGE) if request.param == "zswap" else SwapFile(tmp_path, 8 * PAGE)
    yield made
    made.close()


def test_pages_come_back(tier: TierStore) -> None:
    """Zeros, prose and noise: byte for byte, more than once."""
    data = [bytes(PAGE), prose(1), noise(2)]
    handles = tier.put(pages(*data))
    for _ in range(2):
        assert [fetch(tier, handle) for handle in handles] == data


def test_a_full_tier_takes_the_first_pages(tier: TierStore) -> None:
    """Nine raw pages for room for eight: eight handles, and the ninth page is the caller's."""
    handles = tier.put(pages(*(noise(number) for number in range(9))))
    assert len(handles) == 8
    assert tier.used_bytes == tier.limit_bytes
    assert tier.put(pages(noise(9))) == []
    assert fetch(tier, handles[7]) == noise(7)


def test_a_dropped_handle_makes_room(tier: TierStore) -> None:
    """What is dropped is gone, its room is used again, and the others stay."""
    handles = tier.put(pages(*(noise(number) for number in range(8))))
    tier.drop(handles[3])
    (again,) = tier.put(pages(noise(100)))
    assert again == handles[3]
    assert fetch(tier, again) == noise(100)
    assert fetch(tier, handles[4]) == noise(4)


def test_an_unknown_handle_raises(tier: TierStore) -> None:
    """Neither get nor drop takes a number that was not given out, or was dropped."""
    (handle,) = tier.put(pages(prose(1)))
    tier.drop(handle)
    for number in (handle, 7, 100):
        with pytest.raises(KeyError):
            tier.drop(number)
        with pytest.raises(KeyError):
            tier.get(number, memoryview(bytearray(PAGE)))
    assert tier.used_bytes == 0


def test_handles_in_use_are_never_given_out_twice(tier: TierStore) -> None:
    """Through puts and drops in any order."""
    held: dict[int, bytes] = {}
    for number in range(40):
        for handle in tier.put(pages(noise(number))):
            assert handle not in held
            held[handle] = noise(number)
        if number % 3 == 0 and held:
            handle = sorted(held)[number % len(held)]
            tier.drop(handle)
            del held[handle]
    assert all(fetch(tier, handle) == data for handle, data in held.items())


def test_zswap_compresses() -> None:
    """A page of prose takes a fraction of a page; one of noise is stored as it is."""
    zswap = Zswap(1 << 20)
    zswap.put(pages(prose(1)))
    assert zswap.used_bytes < PAGE // 8
    zswap.put(pages(noise(1)))
    assert PAGE < zswap.used_bytes < PAGE + PAGE // 8
    assert zswap.stored_pages == 2


def test_the_swap_file_has_no_name(tmp_path: Path) -> None:
    """Nothing is left in the folder, however the process ends."""
    swap = SwapFile(tmp_path, 8 * PAGE)
    swap.put(pages(noise(1)))
    assert list(tmp_path.iterdir()) == []
    swap.close()


def test_a_full_disk_is_a_full_tier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOSPC ends the put; what was written before is stored, what was not is free again."""
    swap = SwapFile(tmp_path, 8 * PAGE)
    handles = swap.put(pages(*(noise(number) for number in range(4))))
    swap.drop(handles[0])
    swap.drop(handles[2])
    real = os.pwrite
    calls = iter([real])

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        write = next(calls, None)
        if write is None:
            raise OSError(errno.ENOSPC, "no space left on device")
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    # Two free slots that do not touch: two writes, of which the second one fails.
    stored = swap.put(pages(noise(10), noise(11)))
    assert stored == [handles[0]]
    monkeypatch.undo()
    assert fetch(swap, handles[0]) == noise(10)
    assert swap.put(pages(noise(12))) == [handles[2]]
    swap.close()


def test_other_errors_of_the_disk_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken disk is not a full one."""
    swap = SwapFile(tmp_path, 8 * PAGE)

    def pwrite(_fd: int, _data: bytes, _offset: int) -> int:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="input/output"):
        swap.put(pages(noise(1)))
    swap.close()

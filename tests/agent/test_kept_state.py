"""What a run leaves for the next one: each part by itself, and files that are no such state."""

from __future__ import annotations

import os
import pickle
import random
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from xxhash import xxh3_128

from agent_helpers import PAGE, noise, prose
from cramagent.cli import cli
from cramagent.dram import Dram
from cramagent.kept_state import StateUnusable, read_state
from cramagent.sources.file import FileSource
from cramagent.sources.synthetic import Synthetic, SyntheticSource
from cramagent.tiers.swapfile import SwapFile
from cramagent.tiers.zswap import Zswap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cramagent.tiers import TierStore

_MAGIC = b"cram-agent run\0\2"


def through_a_file(kept: object) -> object:
    """As another process gets it."""
    return pickle.loads(pickle.dumps(kept))  # noqa: S301 - our own


def zswap(_folder: Path) -> Zswap:
    """Of a MiB."""
    return Zswap(1 << 20)


def swap_file(folder: Path) -> SwapFile:
    """Of 64 slots."""
    return SwapFile(folder, 64 * PAGE)


@pytest.mark.parametrize("make", [zswap, swap_file])
def test_a_tier_holds_the_same_pages_under_the_same_handles(
    make: Callable[[Path], Zswap | SwapFile], tmp_path: Path
) -> None:
    """And gives out no handle that is taken."""
    before = make(tmp_path)
    pages = [noise(1), prose(2), prose(3), noise(4), prose(5)]
    handles = before.put([memoryview(page) for page in pages])
    before.drop(handles[2])
    after = make(tmp_path)
    after.recall(through_a_file(before.keep()))  # type: ignore[arg-type]  # each takes what its like gave
    assert after.used_bytes == before.used_bytes
    frame = bytearray(PAGE)
    for handle, page in zip(handles, pages, strict=True):
        if handle != handles[2]:
            after.get(handle, memoryview(frame))
            assert frame == page
    more = after.put([memoryview(prose(9)), memoryview(prose(10))])
    assert not set(more) & (set(handles) - {handles[2]})
    close(before, after)


def close(*tiers: TierStore) -> None:
    """Give their files back."""
    for tier in tiers:
        tier.close()


def test_dram_holds_the_same_frames() -> None:
    """The policy's; scratch is scratch."""
    before, after = Dram(4, 2), Dram(4, 2)
    before.scatter([1, 3], noise(1) + prose(2))
    after.recall(before.keep())
    assert after.gather([0, 1, 2, 3]) == bytes(PAGE) + noise(1) + bytes(PAGE) + prose(2)
    before.close()
    after.close()


def test_a_synthetic_source_goes_on_with_the_same_lives() -> None:
    """Whether it was interrupted between two scans or not, it makes the same changes."""
    settings = Synthetic(pages=64, forks=2, stores=0.2, drift_to=0.8, drift_intervals=5)
    one, other = SyntheticSource(settings), SyntheticSource(settings)
    for _ in range(4):
        assert list(one.scan()) == list(other.scan())
    resumed = SyntheticSource(settings)
    resumed.recall(through_a_file(other.keep()))  # type: ignore[arg-type]  # a dict still
    for _ in range(4):
        assert list(resumed.scan()) == list(one.scan())


def test_a_file_is_not_stored_twice(tmp_path: Path) -> None:
    """Its pages are known already."""
    path = tmp_path / "data"
    path.write_bytes(random.Random(1).randbytes(3 * PAGE))
    before = FileSource(path, 10)
    assert list(before.scan())
    after = FileSource(path, 10)
    after.recall(before.keep())
    assert not list(after.scan())
    before.close()
    after.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--source", "synthetic"), "give --host a name that the next run has, too"),
        (("--source", "pid:1", "--host", "ada"), "a process lives on while nobody looks"),
    ],
)
def test_what_no_run_can_go_on_from_is_refused(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """Before anything is opened."""
    state = str(tmp_path / "state")
    result = CliRunner().invoke(cli, ["run", "--device", "127.0.0.1:1", "--state", state, *options])
    assert result.exit_code == 2
    assert told in result.output


def test_no_file_is_no_state(tmp_path: Path) -> None:
    """The first run of all."""
    assert read_state(tmp_path / "state") is None


@pytest.mark.parametrize("damage", [0, 15, 20, 40, -1])
def test_a_damaged_file_is_told_of(damage: int, tmp_path: Path) -> None:
    """Whichever byte it is."""
    body = pickle.dumps({"settings": {}})
    data = bytearray(_MAGIC + xxh3_128(body).digest() + body)
    data[damage] ^= 4
    (tmp_path / "state").write_bytes(data)
    with pytest.raises(StateUnusable):
        read_state(tmp_path / "state")


@pytest.mark.parametrize("length", [0, 8, 31, 36])
def test_a_file_that_was_cut_short_is_told_of(length: int, tmp_path: Path) -> None:
    """It appears whole, or is not ours."""
    body = pickle.dumps({"settings": {}})
    (tmp_path / "state").write_bytes((_MAGIC + xxh3_128(body).digest() + body)[:length])
    with pytest.raises(StateUnusable):
        read_state(tmp_path / "state")


def test_a_state_cannot_name_what_is_not_ours(tmp_path: Path) -> None:
    """A file is read before anybody looks into it: it must not be able to run anything."""

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("true",)

    body = pickle.dumps(Evil())
    (tmp_path / "state").write_bytes(_MAGIC + xxh3_128(body).digest() + body)
    with pytest.raises(StateUnusable, match=r"it names posix\.system"):
        read_state(tmp_path / "state")

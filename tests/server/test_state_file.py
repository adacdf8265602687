"""The file of a saved state: every byte counts, and no damage gets past it."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cxldev.restore import restore_device
from cxldevd.state_file import StateDamaged, StateFile, write_state
from emulator_helpers import Bench, random_pages, same_page

if TYPE_CHECKING:
    from pathlib import Path

    from cxldev.outcomes import SessionRef


def untroubled() -> None:
    """Nothing changes meanwhile."""


def filled() -> tuple[Bench, SessionRef]:
    """A device that has something in every section."""
    bench = Bench()
    ref = bench.attach()
    bench.attach("beta", pages=8)
    bench.write(ref, 0, random_pages(12) + same_page(b"x"))
    bench.trim(ref, 4, 2)
    return bench, ref


def write_to(path: Path, bench: Bench) -> int:
    """Save the bench's device there."""
    snapshot = bench.device.snapshot(bench.now_ns)
    while snapshot.step():
        pass
    with path.open("wb", buffering=0) as file:
        length = write_state(file, snapshot, {"wall_ns": 5}, untroubled)
    snapshot.end()
    return length


def restored_from(path: Path, bench: Bench) -> None:
    """The bench goes on with what the file holds."""
    with closing(StateFile(path)) as file:
        bench.device = restore_device(
            bench.device.config, file.state, file.read_media, now_ns=bench.now_ns, away_ns=0
        )
    bench.device.audit()


def test_a_device_goes_through_a_file(tmp_path: Path) -> None:
    """Bytes, books and the service's own facts."""
    bench, ref = filled()
    held = bench.read(ref, 0, 64)
    length = write_to(tmp_path / "state", bench)
    assert length == (tmp_path / "state").stat().st_size
    restored_from(tmp_path / "state", bench)
    assert bench.read(ref, 0, 64) == held
    with closing(StateFile(tmp_path / "state")) as file:
        assert file.facts == {"wall_ns": 5}


def test_an_empty_device_goes_through_a_file(tmp_path: Path) -> None:
    """No region, no page."""
    bench = Bench()
    write_to(tmp_path / "state", bench)
    restored_from(tmp_path / "state", bench)
    assert bench.used() == 0


def test_no_damaged_byte_gets_past(tmp_path: Path) -> None:
    """One bit anywhere: the ends of every section, and hundreds of places at random."""
    bench, _ = filled()
    path = tmp_path / "state"
    write_to(path, bench)
    good = path.read_bytes()
    with closing(StateFile(path)) as file:
        index = file._read_index()
    places = {0, 15, len(good) - 1, len(good) - 17, len(good) - 33, len(good) - 40, len(good) - 41}
    for section in index["sections"]:
        places |= {section["begin"], section["begin"] + max(0, section["bytes"] - 1)}
    draw = random.Random(0)
    places |= {draw.randrange(len(good)) for _ in range(400)}
    for place in sorted(places):
        damaged = bytearray(good)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(StateDamaged):
            restored_from(path, bench)


def test_a_file_that_was_cut_short_or_has_more_behind_it_is_no_state(tmp_path: Path) -> None:
    """Wherever a full disk or a power cut stopped it."""
    bench, _ = filled()
    path = tmp_path / "state"
    write_to(path, bench)
    good = path.read_bytes()
    draw = random.Random(1)
    for length in [0, 1, 16, 55, len(good) - 1, *(draw.randrange(len(good)) for _ in range(50))]:
        path.write_bytes(good[:length])
        with pytest.raises(StateDamaged):
            restored_from(path, bench)
    path.write_bytes(good + b"\0")
    with pytest.raises(StateDamaged):
        restored_from(path, bench)

"""What of a device outlives its process: a snapshot of one power-on, taken while it serves.

The snapshot is taken in bounded steps, each under the caller's lock; the media's bytes are read without it.
It is of one moment if nothing changed between the first step and the last byte, and of no use otherwise: a
host may have been told since of a write that is not in it. So nothing is stopped and nothing is copied on
write. `Snapshot.mark` says of which moment it is, and `Device.change_mark` whether that is still the present.

Saved: regions, their sessions and those that ended, pages (compressed, raw, same-filled, poisoned, staged)
as the media holds them, queued TRIMs, the staging buffer, promised credits, watermark level, event number.
Not saved: armed faults, the block cache, the events themselves, counters, and when leases run out.

`facts` are plain values (None, bool, int, str, lists and dicts of them). Times are ns of the device's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cxldev.arena import SLACK_BYTES, STEP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.power_on import PowerOn
    from cxldev.regions import Region

VERSION: Final = 2
"""Of facts and columns: a state of another version is not restored."""
COLUMNS: Final = ("kind", "sectors", "size", "place")
"""Of a page table; `pages`, the page numbers, is saved beside them."""
_LOOKED_AT_TOGETHER: Final = 1 << 18
"""Entries of a page table in one step: a few milliseconds at most."""
_HOLE_BYTES: Final = 512
"""Free places up to this size are saved along with the pages around them: long runs are written fast."""

ChangeMark = tuple[str, int]
"""Generation, and the changes in it so far: equal marks, equal states."""


class StateOvertaken(Exception):
    """The device changed while it was saved: what was gathered is not its state any more."""


class StateMismatch(Exception):
    """A saved state of another kind of device. The message says what differs."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """A device as values: what `restore` makes the same device of."""

    facts: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]
    media_bytes: int
    """Length of the media's bytes, to which the places of `columns` refer."""


class Snapshot:
    """Gathers the state of one power-on. `step` under the lock until it is done; `end` in any case."""

    def __init__(self, power: PowerOn) -> None:
        """Under the lock."""
        self.mark = power.change_mark
        self._power = power
        self._arena = power.arena
        # Pages may move within the arena meanwhile: what was looked up stays where it was.
        self._read = power.arena.begin_read()
        self._left = [(region, 0) for region in reversed(list(power.regions))]
        self._parts: dict[str, list[NDArray[Any]]] = {}
        self._facts: dict[str, Any] = {}
        self._runs: tuple[list[int], list[int]] = ([], [])

    def step(self) -> bool:
        """Gather the next part, under the lock. Returns whether there is more.

        Raises:
            StateOvertaken: the device changed, or moved its bytes to another arena at once.
        """
        power = self._power
        if power.change_mark != self.mark or power.arena is not self._arena:
            raise StateOvertaken("the device changed while it was saved")
        if not self._facts:
            self._facts = _facts(power)
        if self._left:
            region, start = self._left.pop()
            table = region.table
            end = start + _LOOKED_AT_TOGETHER
            pages = table.stored_in(start, end)
            self._part(region, "pages", pages)
            for name in COLUMNS:
                self._part(region, name, getattr(table, name)[pages])
            if end < len(table):
                self._left.append((region, end))
        return bool(self._left)

    def state(self) -> SavedState:
        """What was gathered; needs no lock."""
        columns = {name: np.concatenate(parts) for name, parts in self._parts.items()}
        regions = [facts["number"] for facts in self._facts["regions"]]
        held = {number: columns[f"{number}.size"] > 0 for number in regions}
        places = [columns[f"{number}.place"][held[number]].astype(np.int64) for number in regions]
        sizes = [columns[f"{number}.size"][held[number]].astype(np.int64) for number in regions]
        packed, starts, lengths = _packed(_joined(places), _joined(sizes))
        begin = 0
        for number, some in zip(regions, places, strict=True):
            columns[f"{number}.place"][held[number]] = packed[begin : begin + len(some)].astype(np.uint64)
            begin += len(some)
        self._runs = (starts.tolist(), lengths.tolist())
        return SavedState(self._facts, columns, int(lengths.sum()))

    def media(self) -> Iterator[memoryview]:
        """The media's bytes behind one another, after `state`, straight from the arena: copy them at once."""
        memory = self._arena.memory
        for start, length in zip(*self._runs, strict=True):
            yield memory[start : start + length]

    def end(self) -> None:
        """Under the lock: places need not be kept any more. Harmless if it is done already."""
        self._arena.end_read(self._read)

    def _part(self, region: Region, name: str, part: NDArray[Any]) -> None:
        self._parts.setdefault(f"{region.number}.{name}", []).append(part)


def kind_of(config: DeviceConfig) -> dict[str, int]:
    """What must be the same of the device that is saved and of the one that is restored."""
    return {
        "physical": config.physical_capacity_bytes,
        "zratio": config.zratio_milli,
        "sector": config.sector_bytes,
        "page-metadata": config.metadata_bytes,
        "staging": config.staging.bytes,
    }


def _facts(power: PowerOn) -> dict[str, Any]:
    return {
        "version": VERSION,
        "device": kind_of(power.config),
        "generation": power.generation,
        "now_ns": power.now_ns,
        "event_sequence": power.events.last_sequence,
        "watermark": int(power.gauge.level),
        "no_more_writes": power.no_more_writes.active,
        "refused_pages": power.refused_pages,
        "sessions": power.regions.memory,
        "regions": [_region_facts(region) for region in power.regions],
        "staging": None if power.staging is None else power.staging.memory,
    }


def _region_facts(region: Region) -> dict[str, Any]:
    account, asked = region.account, region.asked_back
    return {
        "number": region.number,
        "session": region.session,
        "host": region.host,
        "logical_bytes": region.logical_bytes,
        "lease_ns": region.lease_ns,
        "guaranteed_bytes": account.guaranteed_bytes,
        "limit_bytes": account.limit_bytes,
        "promised_pages": account.promised_pages,
        "credit_request": region.credit_request,
        "last_staged": region.last_staged,
        "last_staged_due_ns": region.last_staged_due_ns,
        "asked_back": None if asked is None else [asked.logical_bytes, asked.forced_at_ns],
        "trims": region.trims.memory,
    }


def _packed(
    places: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where pages lie once the runs of the arena that hold them are behind one another.

    Returns:
        The new place of each page; the begin and the length of each run in the arena.
    """
    widths = -(-sizes // STEP) * STEP
    order = places.argsort()
    begins = places[order]
    ends = begins + widths[order]
    gaps = begins[1:] - ends[:-1]
    assert not len(gaps) or int(gaps.min()) >= 0, "places overlap"
    holes = gaps <= _HOLE_BYTES
    if int(gaps[holes].sum()) > SLACK_BYTES:
        holes = gaps == 0
    first = np.ones(len(begins), np.bool_)
    first[1:] = ~holes
    last = np.ones(len(begins), np.bool_)
    last[:-1] = ~holes
    starts, lengths = begins[first], ends[last] - begins[first]
    run = first.cumsum() - 1
    packed = np.empty(len(places), np.int64)
    packed[order] = begins - starts[run] + (lengths.cumsum() - lengths)[run]
    return packed, starts, lengths


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)

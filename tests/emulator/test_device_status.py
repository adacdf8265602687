"""What the device tells: telemetry for hosts, status and descriptions for the operator, events for all."""

from __future__ import annotations

import dataclasses
from enum import Enum

import pytest

from cxldev.config import PAGE_BYTES
from cxldev.errors import CapacityIdentityBroken
from cxldev.events import RegionAttached, RegionDetached
from cxldev.faults import ExhaustionFault, PoisonFault
from cxldev.ledger import Account
from cxldev.outcomes import PageKind
from emulator_helpers import (
    COLUMNS,
    MIB,
    Bench,
    at,
    random_page,
    random_pages,
    same_page,
    small_config,
    zero_page,
)


def filled() -> Bench:
    """One page of each kind, two regions, a fault."""
    bench = Bench()
    ref = bench.attach()
    bench.attach("beta", 8, guarantee=5000, limit=90_000)
    bench.write(ref, 1, random_page(1, 100) + random_page(1) + same_page(b"s") + random_page(4))
    bench.inject(PoisonFault("alpha", dpas=(4 * PAGE_BYTES,)))
    bench.inject(ExhaustionFault(bytes=1000))
    return bench


def test_describe_tells_the_kind_and_the_cost() -> None:
    """Of each page, in the order asked for."""
    [one] = filled().device.describe("alpha", at(1))
    assert (one.dpa, one.kind, one.sectors) == (PAGE_BYTES, PageKind.COMPRESSED, 2)
    descriptions = filled().device.describe("alpha", at(4, 3, 2, 0))
    assert [(one.kind, one.compressed_bytes, one.sectors) for one in descriptions] == [
        (PageKind.POISONED, 0, 0),
        (PageKind.SAME_FILLED, 0, 0),
        (PageKind.RAW, PAGE_BYTES, 64),
        (PageKind.EMPTY, 0, 0),
    ]


def test_the_status_adds_up() -> None:
    """Media by kind, pages by sectors and by kind, regions, faults."""
    bench = filled()
    status = bench.device.status(bench.now_ns)
    media = status.media
    assert media.used_bytes + status.telemetry.media_free_bytes == MIB
    assert (media.sectors_bytes, media.metadata_bytes, media.reserved_bytes) == (66 * 64, 3 * 16, 1000)
    assert media.pages_by_sectors[0] == 2
    assert media.pages_by_sectors[2] == media.pages_by_sectors[64] == 1
    assert sum(media.pages_by_sectors) == status.telemetry.stored_pages == 4
    assert media.peak_used_bytes == media.used_bytes + 64 * 64 + 16 - 1000
    assert (status.same_filled_stored_pages, status.raw_stored_pages, status.poisoned_stored_pages) == (
        1,
        1,
        1,
    )
    assert [region.telemetry.host for region in status.regions] == ["alpha", "beta"]
    assert status.regions[1].telemetry.limit_media_bytes == 90_000
    assert [fault.fault for fault in status.faults] == [ExhaustionFault(bytes=1000)]


def test_the_status_does_not_move() -> None:
    """Counters are a copy."""
    bench = filled()
    status = bench.device.status(bench.now_ns)
    before = dataclasses.asdict(status.counters)
    bench.read(bench.attach("gamma"), 0)
    assert dataclasses.asdict(status.counters) == before


def test_the_lease_that_remains() -> None:
    """Counted down with the clock."""
    bench = filled()
    lease = bench.device.config.default_lease_ns
    status = bench.device.status(bench.now_ns + 5)
    assert [region.lease_remaining_ns for region in status.regions] == [lease - 5] * 2


def test_a_status_looks_at_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are stored: hosts wait for it. The columns of the page tables are out of reach here."""
    bench = filled()
    before = bench.device.status(bench.now_ns)
    for region in bench.device._power.regions:
        for column in COLUMNS:
            monkeypatch.setattr(region.table, column, None)
    assert bench.device.status(bench.now_ns) == before


def test_a_status_looks_at_each_region_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at all of them for each: what they are guaranteed is added up once."""
    looks = 0
    unmet = vars(Account)["unmet_bytes"]

    def counted(account: Account) -> int:
        nonlocal looks
        looks += 1
        return int(unmet.fget(account))

    monkeypatch.setattr(Account, "unmet_bytes", property(counted))
    found = []
    for hosts in (8, 16):
        bench = Bench()
        for number in range(hosts):
            bench.attach(f"host-{number}", 4, guarantee=5000)
        looks = 0
        rooms = [region.telemetry.room_bytes for region in bench.device.status(bench.now_ns).regions]
        assert rooms == [MIB - (hosts - 1) * 5000] * hosts
        found.append(looks)
    assert found == [16, 32]


def numbers(value: object) -> list[object]:
    """All leaves of a nest of dataclasses and tuples."""
    if dataclasses.is_dataclass(value):
        return [leaf for one in dataclasses.fields(value) for leaf in numbers(getattr(value, one.name))]
    if isinstance(value, tuple | list | frozenset):
        return [leaf for one in value for leaf in numbers(one)]
    return [value]


def test_no_number_of_numpy_gets_out() -> None:
    """They overflow, and protobuf and json refuse them."""
    bench = filled()
    ref = bench.attach("gamma")
    told = [
        bench.device.status(bench.now_ns),
        bench.device.telemetry(ref, bench.now_ns),
        bench.device.describe("alpha", at(1, 2, 3, 4)),
        bench.write(ref, 0, random_pages(1)),
        bench.write(ref, 0, random_pages(20)),
        bench.read_outcome(ref, 0, 20)._replace(data=b""),
        bench.trim(ref, 0, 20),
        bench.device.begin_flush(ref, bench.now_ns),
        bench.device.flush_done(bench.device.begin_flush(ref, bench.now_ns), bench.now_ns),
        bench.device.inject(PoisonFault("alpha", random_pages=1), 0, next_generation=""),
        bench.device.events.after(0)[1],
    ]
    for leaf in numbers(told):
        assert leaf is None or isinstance(leaf, Enum) or type(leaf) in {int, str, bool, bytes, list}, repr(
            leaf
        )


def test_events_belong_to_a_region_or_to_all() -> None:
    """A host is told of its own region only."""
    bench = Bench()
    bench.device.detach(bench.attach("one"), bench.now_ns)
    bench.attach("two")
    events = bench.device.events.after(0)[1]
    assert [type(event.kind) for event in events] == [RegionAttached, RegionDetached, RegionAttached]
    assert [event.concerns("one") for event in events] == [True, True, False]
    assert [event.sequence for event in events] == [1, 2, 3]
    assert all(event.telemetry.event_sequence == event.sequence for event in events)


def test_a_slow_watcher_is_told_what_it_missed() -> None:
    """The log keeps what it was told to keep."""
    bench = Bench(small_config(event_log_entries=3))
    for number in range(3):
        bench.device.detach(bench.attach(f"h{number}"), bench.now_ns)
    missed, events = bench.device.events.after(1)
    assert missed is not None
    assert (missed.first_sequence, missed.last_sequence) == (2, 3)
    assert [event.sequence for event in events] == [4, 5, 6]
    assert bench.device.events.after(6) == (None, [])


def test_counters_count_what_they_say() -> None:
    """One of everything."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, zero_page() + random_page(1) + random_page(2, 9))
    bench.write(ref, 0, same_page(b"1"))
    bench.read(ref, 0, 2)
    bench.trim(ref, 0, 3)
    bench.device.flush_done(bench.device.begin_flush(ref, 0), 0)
    counters = bench.device.counters
    assert (counters.write_requests, counters.written_pages) == (2, 4)
    assert (counters.same_filled_pages, counters.raw_pages) == (2, 1)
    assert (counters.read_requests, counters.read_pages) == (1, 2)
    assert (counters.trim_requests, counters.trimmed_pages, counters.released_pages) == (1, 3, 3)
    assert counters.flush_requests == 1


def test_the_audit_finds_what_does_not_match() -> None:
    """A page table, an account and an arena that were tampered with."""
    for tamper, change in (("kind", 1), ("sectors", 1), ("size", 64)):
        bench = filled()
        column = getattr(next(iter(bench.device._power.regions)).table, tamper)
        column[1] += change
        with pytest.raises(CapacityIdentityBroken):
            bench.device.audit()
    bench = filled()
    bench.device._power.arena.top += 32
    with pytest.raises(CapacityIdentityBroken, match="arena"):
        bench.device.audit()

"""Faults, one at a time and on one another: armed, felt, cleared."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from cxldev.config import PAGE_BYTES, ExhaustionMode
from cxldev.errors import (
    InvalidField,
    NoMoreWrites,
    OutOfRange,
    Overlapping,
    Poisoned,
    StaleGeneration,
    TooMany,
    UnknownFault,
    UnknownHost,
)
from cxldev.events import ClearCause, DeviceReset, FaultArmed, FaultCleared, PoisonFound, RegionAttached
from cxldev.faults import (
    LAYER_ORDER,
    Command,
    Delay,
    ExhaustionFault,
    Fault,
    FaultLayers,
    LatencyFault,
    Operation,
    PoisonFault,
    RatioCollapseFault,
    ResetFault,
)
from emulator_helpers import (
    MIB,
    Bench,
    at,
    random_page,
    random_pages,
    same_page,
    small_config,
    snapshot,
    zero_page,
)


def test_the_order_of_layers() -> None:
    """What is nearest to the media is innermost, whatever was armed first; then by age."""
    layers = FaultLayers()
    for fault in (
        LatencyFault(device_ns=1),
        RatioCollapseFault(2000),
        ExhaustionFault(bytes=1),
        RatioCollapseFault(1000),
    ):
        layers.arm(fault, 0)
    assert [one.fault_id for one in layers.listed()] == [
        "exhaustion-3",
        "ratio-collapse-2",
        "ratio-collapse-4",
        "latency-1",
    ]
    assert [fault.kind for fault in LAYER_ORDER] == [
        "exhaustion",
        "ratio_collapse",
        "read_only_media",
        "staging_overflow",
        "stuck_trim",
        "flush_hang",
        "latency",
        "refused_command",
        "control_stall",
        "unanswered_command",
        "dropped_connection",
        "event",
    ]


def test_without_faults_the_layers_change_nothing() -> None:
    """They are not there."""
    layers = FaultLayers()
    sectors = np.array([1, 64])
    write = Command(Operation.WRITE, "alpha", 2, np.array([0, 1]))
    assert layers.storing(write).sectors_for(sectors, 64) is sectors
    assert layers.storing(write).writable(2) == 2
    assert layers.delay(write, Delay(1, 2)) == Delay(1, 2)
    assert layers.arrive(write) is None
    assert layers.held_back_bytes(MIB) == 0
    assert not layers.armed


# -- exhaustion -------------------------------------------------------------------------------


def test_exhaustion_holds_media_back_and_gives_it_back() -> None:
    """In bytes or as a share; several add up."""
    bench = Bench()
    first = bench.inject(ExhaustionFault(bytes=1000))
    bench.inject(ExhaustionFault(share_milli=500))
    assert bench.free() == MIB // 2 - 1000
    assert bench.device.status(0).media.reserved_bytes == MIB // 2 + 1000
    assert bench.device.clear(first, bench.now_ns) == 1
    assert bench.free() == MIB // 2
    assert bench.device.clear(None, bench.now_ns) == 1
    assert bench.free() == MIB


def test_exhaustion_takes_later_what_is_not_free_now() -> None:
    """First all that is free; then what TRIM would have given back. Data is never lost by it."""
    bench = Bench()
    ref = bench.attach(pages=64)
    data = random_pages(64)
    bench.write(ref, 0, data)
    used = bench.used()
    bench.inject(ExhaustionFault(share_milli=1000))
    assert bench.free() == 0
    assert bench.read(ref, 0, 64) == data
    with pytest.raises(NoMoreWrites):
        bench.write(ref, 0, random_page(1) * 64)
    bench.trim(ref, 0, 64)
    assert bench.free() == 0
    assert bench.device.status(0).media.reserved_bytes == MIB
    bench.device.audit()
    bench.device.clear(None, bench.now_ns)
    assert used > 0
    assert bench.free() == MIB


def test_what_a_write_frees_goes_to_the_fault_first() -> None:
    """A page that shrinks makes no room for the one behind it while the fault still wants more."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1) + random_page(2, 100))
    bench.inject(ExhaustionFault(share_milli=1000))
    with pytest.raises(NoMoreWrites) as caught:
        bench.write(ref, 0, zero_page() + random_page(3))
    assert caught.value.accepted_pages == 1
    # The page that was turned away, and the media that was taken.
    assert [fault.fired for fault in bench.device.status(0).faults] == [2]
    bench.device.audit()


# -- ratio collapse ---------------------------------------------------------------------------


def test_ratio_collapse_is_for_pages_written_from_now_on() -> None:
    """Those that are stored keep what they have; same-filled ones collapse too."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1, 100))
    before = bench.used()
    bench.inject(RatioCollapseFault(1500))
    bench.write(ref, 1, random_page(2, 100) + same_page(b"x") + random_page(3))
    least = -(-4096 * 1000 // 1500 // 64) * 64
    assert bench.used() - before == 2 * (least + 16) + 4096 + 16
    assert bench.read(ref, 1, 3) == random_page(2, 100) + same_page(b"x") + random_page(3)
    assert bench.device.status(0).faults[0].fired == 2
    bench.device.clear(None, bench.now_ns)
    bench.write(ref, 1, random_page(2, 100))
    bench.device.audit()
    assert bench.device.status(0).media.pages_by_sectors[2] == 2


def test_nothing_is_saved_at_a_ratio_of_one() -> None:
    """Every page takes a whole page's sectors."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(RatioCollapseFault(1000))
    bench.write(ref, 0, random_page(1, 10) + zero_page())
    assert bench.used() == 2 * (4096 + 16)
    bench.device.audit()


# -- poison -----------------------------------------------------------------------------------


def test_poisoned_pages_are_found_by_a_read() -> None:
    """All of the request are named, in one event of that region; the others are readable."""
    bench = Bench()
    ref = bench.attach()
    data = random_pages(6)
    bench.write(ref, 0, data)
    bench.inject(PoisonFault("alpha", dpas=(4096, 3 * 4096)))
    with pytest.raises(Poisoned) as caught:
        bench.read(ref, 0, 6)
    assert caught.value.dpas == (4096, 3 * 4096)
    assert bench.event_kinds()[-1] == PoisonFound((4096, 3 * 4096))
    assert bench.device.events.after(0)[1][-1].concerns("alpha")
    assert bench.read(ref, 4, 2) == data[4 * 4096 :]
    counters = bench.device.counters
    assert (counters.poison_created_injected_pages, counters.poison_read_pages) == (2, 2)
    assert bench.device.status(0).regions[0].poisoned_pages == 2
    assert not bench.device.status(0).faults


def test_poisoned_pages_stay_stored() -> None:
    """They keep neither sectors nor metadata; they are not empty until they are trimmed."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    assert bench.used() == 0
    seen = bench.device.telemetry(ref, bench.now_ns)
    assert (seen.stored_pages, seen.ratio_milli) == (1, 0)
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    assert bench.device.counters.poison_created_injected_pages == 1
    assert bench.trim(ref, 0).trimmed_pages == 1
    assert bench.device.telemetry(ref, bench.now_ns).stored_pages == 0
    bench.device.audit()


def test_a_trim_of_poison_waits_for_nothing() -> None:
    """It has no media to give back; the pages beside it do, after the delay."""
    bench = Bench(small_config(trim_delay_ns=100))
    ref = bench.attach()
    bench.write(ref, 0, random_pages(3))
    bench.inject(PoisonFault("alpha", dpas=(0, PAGE_BYTES)))
    assert bench.trim(ref, 0).trimmed_pages == 1
    assert bench.flush_due(ref) == bench.now_ns
    assert bench.trim(ref, 0, 3).trimmed_pages == 2
    assert bench.device.telemetry(ref, bench.now_ns).trim_queued_pages == 1
    assert bench.flush_due(ref) == bench.now_ns + 100
    bench.device.audit()


def test_a_collapse_counts_what_was_stored() -> None:
    """Not the pages that did not fit, refused or poisoned."""
    for mode, accepted in ((ExhaustionMode.REFUSE, 2), (ExhaustionMode.POISON, 4)):
        bench = Bench(small_config(physical_capacity_bytes=3 * PAGE_BYTES, exhaustion_mode=mode))
        ref = bench.attach(pages=8)
        bench.inject(RatioCollapseFault(1000))
        with nullcontext() if accepted == 4 else pytest.raises(NoMoreWrites):
            bench.write(ref, 0, zero_page() * 4)
        assert bench.device.status(bench.now_ns).faults[0].fired == 2


def test_poison_is_told_once() -> None:
    """However often it is read; again when the page was healed and poisoned anew."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(4))
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    for _ in range(3):
        with pytest.raises(Poisoned):
            bench.read(ref, 0)
    bench.inject(PoisonFault("alpha", dpas=(PAGE_BYTES,)))
    with pytest.raises(Poisoned) as caught:
        bench.read(ref, 0, 4)
    assert caught.value.dpas == (0, PAGE_BYTES)
    bench.write(ref, 0, random_page(5))
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    with pytest.raises(Poisoned):
        bench.read(ref, 0)
    told = [kind.dpas for kind in bench.event_kinds() if isinstance(kind, PoisonFound)]
    assert told == [(0,), (PAGE_BYTES,), (0,)]


def test_much_poison_is_told_in_parts() -> None:
    """An event names 512 pages at most."""
    bench = Bench()
    ref = bench.attach(pages=600)
    bench.write(ref, 0, zero_page() * 600)
    bench.inject(PoisonFault("alpha", random_pages=600))
    with pytest.raises(Poisoned):
        bench.read(ref, 0, 600)
    told = [kind.dpas for kind in bench.event_kinds() if isinstance(kind, PoisonFound)]
    assert [len(dpas) for dpas in told] == [512, 88]
    assert sum(told, ()) == tuple(range(0, 600 * PAGE_BYTES, PAGE_BYTES))


def test_random_poison_follows_its_seed() -> None:
    """The same pages for the same seed; only sound ones."""
    drawn = []
    for seed in (1, 1, 2):
        bench = Bench()
        ref = bench.attach()
        bench.write(ref, 10, random_pages(30))
        fault = PoisonFault("alpha", random_pages=5, seed=seed)
        drawn.append(bench.device.inject(fault, 0, next_generation="").dpas)
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(10 * 4096 <= dpa < 40 * 4096 for dpa in drawn[0])
    assert len(set(drawn[0])) == 5


# -- reset ------------------------------------------------------------------------------------


def test_a_reset_loses_everything() -> None:
    """The event is the last of its generation; the next one begins at 1, with an empty device."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(8))
    log = bench.device.events
    bench.device.inject(ResetFault(), 0, next_generation="g2")
    assert log.after(0)[1][-1].kind == DeviceReset("g2")
    assert (bench.device.generation, bench.used(), bench.device.events.last_sequence) == ("g2", 0, 0)
    with pytest.raises(StaleGeneration):
        bench.read(ref, 0)
    ref = bench.attach()
    assert bench.device.events.after(0)[1][0].sequence == 1
    assert bench.event_kinds() == [RegionAttached("alpha")]
    assert bench.read(ref, 0, 8) == bytes(8 * PAGE_BYTES)
    bench.device.audit()


def test_armed_faults_outlive_a_reset() -> None:
    """Counters do, too: they are the process's."""
    bench = Bench()
    bench.inject(ExhaustionFault(share_milli=250))
    bench.inject(ResetFault())
    assert bench.free() == MIB * 3 // 4
    assert bench.device.status(0).counters.resets == 1
    assert bench.device.status(0).counters.capacity_identity_checks > 0
    bench.device.audit()


# -- arming and clearing ----------------------------------------------------------------------


def test_events_of_the_operator() -> None:
    """Armed and cleared, by id and kind; no host is told."""
    bench = Bench()
    fault_id = bench.inject(LatencyFault(device_ns=1))
    bench.device.clear(fault_id, bench.now_ns)
    events = bench.device.events.after(0)[1]
    assert [event.kind for event in events] == [
        FaultArmed(fault_id, "latency"),
        FaultCleared(fault_id, "latency", ClearCause.REQUESTED, 0),
    ]
    assert not any(event.concerns("alpha") for event in events)


def test_clearing_what_is_not_armed() -> None:
    """One by name is an error; all of none is none."""
    bench = Bench()
    with pytest.raises(UnknownFault):
        bench.device.clear("f9", bench.now_ns)
    assert bench.device.clear(None, bench.now_ns) == 0


WRONG: list[tuple[Fault, type[Exception]]] = [
    (ExhaustionFault(), InvalidField),
    (ExhaustionFault(bytes=1, share_milli=1), InvalidField),
    (ExhaustionFault(bytes=0), InvalidField),
    (ExhaustionFault(bytes=MIB + 1), InvalidField),
    (ExhaustionFault(share_milli=0), InvalidField),
    (ExhaustionFault(share_milli=1001), InvalidField),
    (RatioCollapseFault(0), InvalidField),
    (RatioCollapseFault(999), InvalidField),
    (RatioCollapseFault(64_001), InvalidField),
    (LatencyFault(), InvalidField),
    (LatencyFault(device_ns=-1), InvalidField),
    (LatencyFault(wall_ns=2**64), InvalidField),
    (PoisonFault("alpha"), InvalidField),
    (PoisonFault("alpha", dpas=(0,), random_pages=1), InvalidField),
    (PoisonFault("alpha", random_pages=-1), InvalidField),
    (PoisonFault("alpha", random_pages=9), InvalidField),
    (PoisonFault("alpha", random_pages=1025), TooMany),
    (PoisonFault("alpha", random_pages=1, seed=-1), InvalidField),
    (PoisonFault("alpha", dpas=(1,)), ValueError),
    (PoisonFault("alpha", dpas=(-4096,)), InvalidField),
    (PoisonFault("alpha", dpas=(2**64,)), InvalidField),
    (PoisonFault("alpha", dpas=(0, 0)), Overlapping),
    (PoisonFault("alpha", dpas=(9 * 4096,)), InvalidField),
    (PoisonFault("alpha", dpas=(2**64 - 4096,)), OutOfRange),
    (PoisonFault("nobody", random_pages=1), UnknownHost),
]


@pytest.mark.parametrize(("fault", "error"), WRONG, ids=repr)
def test_a_fault_that_cannot_be_injected_changes_nothing(fault: Fault, error: type[Exception]) -> None:
    """Refused whole."""
    bench = Bench()
    bench.write(bench.attach(), 0, random_pages(8))
    before = snapshot(bench.device, bench.now_ns)
    with pytest.raises(error):
        bench.device.inject(fault, bench.now_ns, next_generation="g9")
    assert snapshot(bench.device, bench.now_ns) == before


def test_generations_must_be_new() -> None:
    """A reset begins one of its own."""
    bench = Bench()
    for generation in ("g1", ""):
        with pytest.raises(InvalidField):
            bench.device.inject(ResetFault(), 0, next_generation=generation)


def test_refused_faults_use_no_ids_up() -> None:
    """Ids are counted by what is armed."""
    bench = Bench()
    with pytest.raises(InvalidField):
        bench.inject(LatencyFault())
    assert bench.inject(LatencyFault(device_ns=1)) == "latency-1"
    assert bench.inject(ExhaustionFault(bytes=1)) == "exhaustion-2"


def test_the_block_cache_forgets_poisoned_pages() -> None:
    """A page that is lost is not served from anywhere."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1, 100))
    bench.inject(PoisonFault("alpha", dpas=tuple(at(0).tolist())))
    assert (bench.device._power.latency._tags == -1).all()

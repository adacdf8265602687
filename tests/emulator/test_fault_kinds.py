"""Each kind of fault by itself: what it does, what it counts, and that clearing it undoes it."""

from __future__ import annotations

import numpy as np
import pytest

from cxldev.config import PAGE_BYTES, ExhaustionMode, StagingConfig
from cxldev.errors import (
    CommandLost,
    CommandRefused,
    ConnectionDropped,
    InvalidField,
    MediaReadOnly,
    Poisoned,
    Unanswered,
)
from cxldev.events import ClearCause, FaultArmed, FaultCleared, PoisonFound
from cxldev.faults import (
    BitFlipFault,
    ControlStallFault,
    DroppedConnectionFault,
    EventFault,
    EventTrouble,
    ExhaustionFault,
    FlushHangFault,
    LatencyFault,
    Operation,
    RatioCollapseFault,
    ReadOnlyMediaFault,
    RefusedCommandFault,
    ResetFault,
    Scope,
    StagingOverflowFault,
    StuckTrimFault,
    UnansweredCommandFault,
)
from emulator_helpers import MIB, Bench, random_page, random_pages, small_config, zero_page


def fired(bench: Bench) -> int:
    """How often the one armed fault fired."""
    [fault] = bench.device.status(bench.now_ns).faults
    return fault.fired


# -- the media ----------------------------------------------------------------------------------


def test_exhaustion_ramps() -> None:
    """In equal steps, each at its time, and no earlier."""
    bench = Bench()
    bench.inject(ExhaustionFault(bytes=256 * 1000, ramp_ns=256_000_000))
    assert bench.free() == MIB
    for step in (1, 2, 128, 256):
        bench.now_ns = 1_000 + step * 1_000_000 - 1
        assert bench.free() == MIB - (step - 1) * 1000
        bench.now_ns += 1
        assert bench.device.advance(bench.now_ns) == (None if step == 256 else bench.now_ns + 1_000_000)
        assert bench.free() == MIB - step * 1000


def test_exhaustion_that_takes_freed_media_has_fired() -> None:
    """Not when it is armed; each time that something came free for it."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(8))
    bench.inject(ExhaustionFault(share_milli=1000))
    assert fired(bench) == 0
    bench.trim(ref, 0, 4)
    assert fired(bench) == 1


def test_fault_events_tell_of_the_device_after_the_fault_acted() -> None:
    """And come before what follows from it."""
    bench = Bench()
    fault_id = bench.inject(ExhaustionFault(share_milli=1000))
    bench.device.clear(fault_id, bench.now_ns)
    told = {type(event.kind): event.telemetry.media_free_bytes for event in bench.device.events.after(0)[1]}
    assert told[FaultArmed] == 0
    assert told[FaultCleared] == MIB
    assert isinstance(bench.event_kinds()[0], FaultArmed)


def test_a_collapse_of_some_addresses() -> None:
    """Pages beside the range take what they take."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(RatioCollapseFault(1000, scope=Scope(dpas=(PAGE_BYTES, 2 * PAGE_BYTES))))
    bench.write(ref, 0, zero_page() * 4)
    assert bench.used() == 2 * PAGE_BYTES + 4 * 16
    assert fired(bench) == 2


def test_read_only_media_ends_a_write_at_its_first_page() -> None:
    """Those before it are stored, also where pages that do not fit are poisoned. Reads and TRIMs go on."""
    bench = Bench(small_config(exhaustion_mode=ExhaustionMode.POISON))
    ref = bench.attach()
    bench.write(ref, 0, random_page(1) * 4)
    bench.inject(ReadOnlyMediaFault(scope=Scope(dpas=(2 * PAGE_BYTES, PAGE_BYTES))))
    with pytest.raises(MediaReadOnly) as caught:
        bench.write(ref, 0, random_page(2) * 4)
    assert (caught.value.accepted_pages, caught.value.refused_dpa) == (2, 2 * PAGE_BYTES)
    assert bench.read(ref, 0, 4) == random_page(2) * 2 + random_page(1) * 2
    assert fired(bench) == bench.device.counters.refused_read_only_pages == 2
    assert bench.trim(ref, 2).trimmed_pages == 1
    assert not bench.device.telemetry(None, bench.now_ns).no_more_writes


def test_a_flipped_bit_is_found_by_the_checksum() -> None:
    """Nobody is told before a read; the page beside it is good; a write heals."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1) + random_page(2, 900) + random_page(3))
    bench.inject(BitFlipFault("alpha", dpas=(0, PAGE_BYTES), bits=3))
    assert not bench.device.status(bench.now_ns).poisoned_stored_pages
    with pytest.raises(Poisoned) as caught:
        bench.read(ref, 0, 3)
    assert caught.value.dpas == (0, PAGE_BYTES)
    assert bench.event_kinds()[-1] == PoisonFound((0, PAGE_BYTES))
    counters = bench.device.counters
    assert (counters.bit_flipped_pages, counters.poison_created_checksum_pages) == (2, 2)
    bench.write(ref, 0, random_page(1) * 2)
    assert bench.read(ref, 0, 3) == random_page(1) * 2 + random_page(3)
    bench.device.audit()


def test_a_flip_does_not_reach_a_read_that_began_before() -> None:
    """Its bytes were good: they may be on their way already."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    ticket = bench.device.begin_read(ref, np.array([0], np.uint64), bench.now_ns)
    bench.inject(BitFlipFault("alpha", dpas=(0,)))
    outcome = bench.device.end_read(ticket, bench.codec.expand(ticket.stored), bench.now_ns)
    assert bytes(outcome.data) == random_page(1)
    with pytest.raises(Poisoned):
        bench.read(ref, 0)


def test_a_page_without_bytes_has_no_bits() -> None:
    """Same-filled ones lie in the page table."""
    bench = Bench()
    bench.write(bench.attach(), 0, zero_page())
    with pytest.raises(InvalidField):
        bench.inject(BitFlipFault("alpha", dpas=(0,)))


def test_staging_overflow_loses_what_was_acknowledged() -> None:
    """At the drain, so many pages as its count says; a device without a buffer refuses it."""
    bench = Bench(small_config(staging=StagingConfig(8 * PAGE_BYTES, 100)))
    ref = bench.attach()
    bench.inject(StagingOverflowFault(scope=Scope(count=2)))
    bench.write(ref, 0, random_pages(4))
    assert bench.read(ref, 0, 4) == random_pages(4)
    bench.now_ns += 1_000_000
    with pytest.raises(Poisoned) as caught:
        bench.read(ref, 0, 4)
    assert caught.value.dpas == (0, PAGE_BYTES)
    assert bench.device.counters.poison_created_staging_pages == 2
    assert not bench.device.status(bench.now_ns).faults
    with pytest.raises(InvalidField, match="staging"):
        Bench().inject(StagingOverflowFault())


# -- waiting --------------------------------------------------------------------------------------


def test_a_stuck_trim_holds_its_media_until_it_is_cleared() -> None:
    """Zeros at once; those behind it wait; FLUSH waits; all comes back with `clear`."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(4))
    used = bench.used()
    fault_id = bench.inject(StuckTrimFault(scope=Scope(count=1)))
    bench.trim(ref, 0, 2)
    bench.trim(ref, 2, 2)
    assert bench.read(ref, 0, 4) == bytes(4 * PAGE_BYTES)
    assert bench.used() == used
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    assert bench.device.flush_due(ticket, bench.now_ns) is None
    assert fired(bench) == 1
    bench.device.clear(fault_id, bench.now_ns)
    assert bench.device.flush_done(ticket, bench.now_ns) is not None
    assert bench.used() == 0


def test_a_slow_trim_comes_back_by_itself() -> None:
    """So much later than the TRIM delay says."""
    bench = Bench(small_config(trim_delay_ns=10))
    ref = bench.attach()
    bench.write(ref, 0, random_pages(1))
    bench.inject(StuckTrimFault(90))
    assert bench.trim(ref, 0).due_ns == bench.now_ns + 100
    assert bench.device.advance(bench.now_ns + 99) == bench.now_ns + 100
    assert bench.used() > 0
    bench.now_ns += 100
    assert bench.used() == 0


def test_a_flush_hangs() -> None:
    """Although there is nothing to wait for; until its delay is over or the fault is cleared."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(FlushHangFault(50))
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    assert bench.device.flush_done(ticket, bench.now_ns + 49) is None
    assert bench.device.flush_done(ticket, bench.now_ns + 50) is not None
    bench.device.clear(None, bench.now_ns + 50)
    bench.inject(FlushHangFault())
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    assert bench.device.flush_due(ticket, bench.now_ns) is None
    bench.device.clear(None, bench.now_ns)
    assert bench.device.flush_done(ticket, bench.now_ns) is not None


def test_the_control_path_stalls_and_the_data_path_runs() -> None:
    """Renew waits; writes do not; `clear` lets it go on."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(ControlStallFault(scope=Scope(operations=frozenset({Operation.RENEW}))))
    arrival = bench.device.control.arrive(Operation.RENEW, "alpha", bench.now_ns)
    assert bench.device.control.stalled_until(arrival, bench.now_ns) is None
    other = bench.device.control.arrive(Operation.TELEMETRY, "alpha", bench.now_ns)
    assert bench.device.control.stalled_until(other, bench.now_ns) == bench.now_ns
    assert bench.write(ref, 0, random_page(1)).accepted_pages == 1
    bench.device.clear(None, bench.now_ns)
    assert bench.device.control.stalled_until(arrival, bench.now_ns) == bench.now_ns


def test_latency_with_jitter_and_tail() -> None:
    """Between the fixed time and the jitter more; a share takes the tail; the same for the same seed."""
    drawn = []
    for _ in range(2):
        bench = Bench()
        ref = bench.attach()
        bench.inject(
            LatencyFault(
                wall_ns=100, wall_jitter_ns=10, tail_milli=250, wall_tail_ns=1_000, scope=Scope(seed=3)
            )
        )
        drawn.append([bench.read_outcome(ref, 0).wall_ns for _ in range(200)])
    assert drawn[0] == drawn[1]
    tails = [wall_ns for wall_ns in drawn[0] if wall_ns > 1_000]
    assert 25 < len(tails) < 75
    assert {wall_ns % 1_000 for wall_ns in drawn[0]} == set(range(100, 111))


# -- answers --------------------------------------------------------------------------------------


def test_a_refused_command_changes_nothing() -> None:
    """Every data command and every control command."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.inject(RefusedCommandFault())
    for command in (
        lambda: bench.write(ref, 0, random_page(2)),
        lambda: bench.read(ref, 0),
        lambda: bench.trim(ref, 0),
        lambda: bench.device.begin_flush(ref, bench.now_ns),
        lambda: bench.device.control.arrive(Operation.RENEW, "alpha", bench.now_ns),
    ):
        with pytest.raises(CommandRefused):
            command()
    assert fired(bench) == 5
    bench.device.clear(None, bench.now_ns)
    assert bench.read(ref, 0) == random_page(1)


@pytest.mark.parametrize(
    ("fault", "error"), [(UnansweredCommandFault, Unanswered), (DroppedConnectionFault, ConnectionDropped)]
)
@pytest.mark.parametrize("carried_out", [False, True])
def test_an_answer_is_lost(
    fault: type[UnansweredCommandFault | DroppedConnectionFault], error: type[CommandLost], carried_out: bool
) -> None:
    """Before or after the command took effect, as the fault says."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.inject(fault(carried_out, scope=Scope(count=1)))
    with pytest.raises(error) as caught:
        bench.write(ref, 0, random_page(2))
    assert caught.value.carried_out is carried_out
    assert bench.read(ref, 0) == random_page(2 if carried_out else 1)


def test_a_refusal_inside_a_lost_answer_is_not_heard() -> None:
    """The outer layer loses it: the host knows nothing."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(UnansweredCommandFault(carried_out=True))
    bench.inject(RefusedCommandFault())
    with pytest.raises(Unanswered) as caught:
        bench.write(ref, 0, random_page(1))
    assert not caught.value.carried_out


# -- events ---------------------------------------------------------------------------------------


def delivered(fault: EventFault, *, later_ns: int = 0, clear: bool = False) -> list[int]:
    """Sequence numbers that a watching host gets of four events, under a fault."""
    bench = Bench()
    bench.inject(fault)
    path = bench.device.control.event_path("alpha")
    ref = bench.attach()
    for pages in (32, 16, 8):
        bench.device.resize(ref, pages * PAGE_BYTES, bench.now_ns)
    first = bench.device.events.after(0)[1][1].sequence
    got = []
    for event in bench.device.events.after(first - 1)[1]:
        if event.concerns("alpha"):
            path.offer(event, bench.now_ns)
            got += path.ready(bench.now_ns)
    if clear:
        bench.device.clear(None, bench.now_ns)
    got += path.ready(bench.now_ns + later_ns)
    return [event.sequence - first for event in got]


def test_events_go_wrong_on_their_way() -> None:
    """Lost, late, twice, in another order; the device's own log stays as it is."""
    assert delivered(EventFault(EventTrouble.LOST)) == []
    assert delivered(EventFault(EventTrouble.LOST, scope=Scope(count=2))) == [2, 3]
    assert delivered(EventFault(EventTrouble.LOST, names=frozenset({"region_attached"}))) == [1, 2, 3]
    assert delivered(EventFault(EventTrouble.LATE, delay_ns=10)) == []
    assert delivered(EventFault(EventTrouble.LATE, delay_ns=10), later_ns=10) == [0, 1, 2, 3]
    assert delivered(EventFault(EventTrouble.DUPLICATED, copies=1, scope=Scope(count=1))) == [0, 0, 1, 2, 3]
    assert delivered(EventFault(EventTrouble.REORDERED, behind=2, scope=Scope(count=1))) == [1, 2, 0, 3]
    assert delivered(EventFault(EventTrouble.REORDERED, behind=9, scope=Scope(count=1)), clear=True) == [
        1,
        2,
        3,
        0,
    ]


# -- scope ----------------------------------------------------------------------------------------


def test_a_count_clears_the_fault_and_says_so() -> None:
    """With how often it fired. So does a duration, at its time."""
    bench = Bench()
    ref = bench.attach()
    bench.inject(RefusedCommandFault(scope=Scope(count=2)))
    for _ in range(2):
        with pytest.raises(CommandRefused):
            bench.read(ref, 0)
    assert bench.read(ref, 0) == zero_page()
    bench.inject(LatencyFault(device_ns=1, scope=Scope(duration_ns=500)))
    assert bench.device.advance(bench.now_ns) == bench.now_ns + 500
    [armed] = bench.device.status(bench.now_ns + 499).faults
    assert (armed.left, armed.ends_ns) == (None, bench.now_ns + 500)
    assert not bench.device.status(bench.now_ns + 500).faults
    cleared = [kind for kind in bench.event_kinds() if isinstance(kind, FaultCleared)]
    assert [(kind.cause, kind.fired) for kind in cleared] == [(ClearCause.COUNT, 2), (ClearCause.DURATION, 0)]


def test_a_fault_meets_only_what_it_is_confined_to() -> None:
    """A host, addresses, commands."""
    bench = Bench()
    one, other = bench.attach("one"), bench.attach("other")
    scope = Scope("one", (4 * PAGE_BYTES, PAGE_BYTES), frozenset({Operation.READ, Operation.TRIM}))
    bench.inject(RefusedCommandFault(scope=scope))
    bench.write(one, 0, random_pages(8))
    assert bench.read(other, 4) == zero_page()
    assert bench.read(one, 5) == random_pages(8)[5 * PAGE_BYTES : 6 * PAGE_BYTES]
    for command in (lambda: bench.read(one, 3, 2), lambda: bench.trim(one, 4), lambda: bench.trim(one, 0, 8)):
        with pytest.raises(CommandRefused):
            command()
    assert bench.trim(one, 5, 3).trimmed_pages == 3


def test_a_share_is_drawn_with_the_seed() -> None:
    """About so many, and the same ones again."""
    drawn = []
    for seed in (1, 1, 2):
        bench = Bench()
        ref = bench.attach()
        bench.inject(RefusedCommandFault(scope=Scope(share_milli=300, seed=seed)))
        refused = []
        for number in range(200):
            try:
                bench.read(ref, 0)
            except CommandRefused:
                refused.append(number)
        drawn.append(refused)
    assert drawn[0] == drawn[1] != drawn[2]
    assert 40 < len(drawn[0]) < 80


WRONG = [
    ExhaustionFault(share_milli=1, scope=Scope("alpha")),
    LatencyFault(device_ns=1, scope=Scope(operations=frozenset({Operation.RENEW}))),
    LatencyFault(device_ns=1, scope=Scope(share_milli=0)),
    LatencyFault(device_ns=1, scope=Scope(dpas=(1, PAGE_BYTES))),
    LatencyFault(device_ns=1, scope=Scope(dpas=(0, 0))),
    LatencyFault(device_ns=1, tail_milli=5),
    FlushHangFault(scope=Scope(dpas=(0, PAGE_BYTES))),
    RefusedCommandFault(scope=Scope(dpas=(0, PAGE_BYTES), operations=frozenset({Operation.RENEW}))),
    StuckTrimFault(-1),
    EventFault(EventTrouble.LATE),
    EventFault(EventTrouble.LOST, delay_ns=1),
    EventFault(EventTrouble.LOST, names=frozenset({"fault_armed"})),
    BitFlipFault("alpha", random_pages=1, bits=0),
]


@pytest.mark.parametrize("fault", WRONG, ids=repr)
def test_what_cannot_be_armed(fault: LatencyFault) -> None:
    """Refused with what it may be; nothing is armed."""
    bench = Bench()
    bench.write(bench.attach(), 0, random_page(1))
    with pytest.raises(InvalidField):
        bench.inject(fault)
    assert not bench.device.status(bench.now_ns).faults


def test_holds_do_not_outlive_a_reset() -> None:
    """The regions are gone with what waited in them; the fault goes on with the next generation's."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.inject(StuckTrimFault())
    bench.trim(ref, 0)
    bench.inject(ResetFault())
    assert bench.used() == 0
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.trim(ref, 0)
    assert fired(bench) == 2

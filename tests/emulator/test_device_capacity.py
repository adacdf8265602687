"""What pages cost, which writes fit, and what a refusal says."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from cxldev.config import PAGE_BYTES, ExhaustionMode, Watermarks
from cxldev.errors import NoMoreWrites, Poisoned, RegionLimit
from cxldev.events import NoMoreWritesEntered, NoMoreWritesLeft, WatermarkCrossed
from cxldev.faults import ExhaustionFault
from cxldev.outcomes import PageKind
from cxldev.telemetry import WatermarkLevel
from emulator_helpers import MIB, Bench, at, random_page, random_pages, same_page, small_config, zero_page

FULL = MIB // (PAGE_BYTES + 16)
"""Raw pages that 1 MiB takes, with 16 bytes of metadata each."""


def raw_pages(count: int) -> bytes:
    """Pages that do not compress."""
    return b"".join(random_page(seed) for seed in range(count))


def full_bench(mode: ExhaustionMode = ExhaustionMode.REFUSE) -> Bench:
    """A device that takes FULL raw pages."""
    return Bench(small_config(exhaustion_mode=mode))


def test_a_page_costs_its_sectors_and_its_metadata() -> None:
    """By kind."""
    bench = Bench()
    ref = bench.attach()
    for page, cost in ((zero_page(), 16), (same_page(b"ab"), 16), (random_page(1), 4096 + 16)):
        bench.write(ref, 0, page)
        assert bench.used() == cost
    bench.write(ref, 0, random_page(1, 100))
    [description] = bench.device.describe("alpha", at(0))
    assert description.kind is PageKind.COMPRESSED
    assert description.sectors == -(-description.compressed_bytes // 64) == 2
    assert bench.used() == 2 * 64 + 16


@pytest.mark.parametrize("sector", [64, 512, 4096])
def test_a_page_that_saves_no_sector_is_raw(sector: int) -> None:
    """With large sectors that begins early."""
    bench = Bench(small_config(sector_bytes=sector))
    ref = bench.attach()
    page = random_page(1, 3_700)
    bench.write(ref, 0, page)
    [description] = bench.device.describe("alpha", at(0))
    raw = sector > 64
    assert (description.kind is PageKind.RAW) == raw
    assert bench.used() == (4096 if raw else description.sectors * sector) + 16
    assert bench.read(ref, 0) == page
    bench.device.audit()


def test_the_ratio_counts_stored_pages_only() -> None:
    """Not what waits in the TRIM queue."""
    bench = Bench(small_config(trim_delay_ns=10))
    ref = bench.attach()
    assert bench.device.telemetry(ref, bench.now_ns).ratio_milli == 0
    bench.write(ref, 0, random_page(1) + random_page(1, 100))
    bench.trim(ref, 0)
    telemetry = bench.device.telemetry(ref, bench.now_ns)
    assert telemetry.region is not None
    assert telemetry.ratio_milli == telemetry.region.ratio_milli == 1000 * 4096 // 144
    assert (telemetry.trim_queued_pages, telemetry.stored_pages) == (1, 1)


def test_the_first_page_that_does_not_fit_ends_the_request() -> None:
    """Those before it are stored; it and the rest keep their old bytes; the error says all of it."""
    bench = full_bench()
    ref = bench.attach(pages=FULL + 10)
    old = random_page(77, 100)
    bench.write(ref, FULL + 2, old)
    data = raw_pages(FULL + 5)
    with pytest.raises(NoMoreWrites) as caught:
        bench.write(ref, 0, data)
    error = caught.value
    assert error.accepted_pages == FULL - 1
    assert error.refused_dpa == (FULL - 1) * PAGE_BYTES
    assert error.device_ns > 0
    assert error.telemetry.no_more_writes
    assert error.telemetry.writes_refused_pages == 6
    assert bench.read(ref, 0, FULL - 1) == data[: (FULL - 1) * PAGE_BYTES]
    assert bench.read(ref, FULL - 1, 6) == bytes(3 * PAGE_BYTES) + old + bytes(2 * PAGE_BYTES)
    for part in ("does not fit", f"{FULL - 1} of {FULL + 5}", "are free", "TRIM"):
        assert part in str(error)
    bench.device.audit()


def test_a_full_device_takes_overwrites_that_need_no_more() -> None:
    """The same size, and smaller; a larger one is refused, one page or many."""
    bench = full_bench()
    ref = bench.attach(pages=FULL + 1)
    bench.write(ref, 0, raw_pages(FULL))
    page = random_page(9_999)
    bench.write(ref, 3, page)
    assert bench.read(ref, 3) == page
    bench.write(ref, 3, zero_page())
    bench.write(ref, 4, random_page(5, 3_000))
    assert bench.read(ref, 3, 2) == zero_page() + random_page(5, 3_000)
    bench.write(ref, 3, random_page(8_888) + random_page(7_777))
    bench.write(ref, FULL, same_page(b"s"))
    with pytest.raises(NoMoreWrites):
        bench.write(ref, FULL, random_page(1, 100))
    assert bench.read(ref, FULL) == same_page(b"s")
    bench.device.audit()


def test_a_guarantee_is_kept_for_its_region() -> None:
    """Others are refused while there is room; the region itself is served."""
    bench = full_bench()
    greedy = bench.attach("greedy", 300)
    owner = bench.attach("owner", 128, guarantee=MIB // 2)
    with pytest.raises(NoMoreWrites, match="guaranteed to other regions") as caught:
        bench.write(greedy, 0, raw_pages(200))
    assert caught.value.telemetry.media_free_bytes >= MIB // 2
    assert bench.device.counters.refused_guarantee_pages == 200 - caught.value.accepted_pages
    bench.write(owner, 0, raw_pages(MIB // 2 // (PAGE_BYTES + 16)))
    bench.device.audit()


def test_a_limit_is_refused_as_such_in_both_modes() -> None:
    """The media has room: no more writes is not entered, and nothing is poisoned."""
    for mode in ExhaustionMode:
        bench = full_bench(mode)
        ref = bench.attach(limit=10 * (PAGE_BYTES + 16))
        with pytest.raises(RegionLimit) as caught:
            bench.write(ref, 0, raw_pages(12))
        assert caught.value.accepted_pages == 10
        assert not caught.value.telemetry.no_more_writes
        with pytest.raises(RegionLimit):
            bench.write(ref, 20, random_page(1))
        assert bench.device.counters.refused_limit_pages == 3
        bench.device.audit()


def test_queued_trims_count_against_the_limit() -> None:
    """Their media is in use until it is released."""
    bench = Bench(small_config(trim_delay_ns=10))
    ref = bench.attach(limit=2 * (PAGE_BYTES + 16))
    bench.write(ref, 0, raw_pages(2))
    bench.trim(ref, 0)
    with pytest.raises(RegionLimit):
        bench.write(ref, 0, random_page(1))
    bench.now_ns += 10
    bench.write(ref, 0, random_page(1))


def test_poison_mode_acknowledges_and_poisons() -> None:
    """The write goes on behind the page that is lost; its old media is given up; a read finds out."""
    bench = full_bench(ExhaustionMode.POISON)
    ref = bench.attach(pages=FULL + 10)
    bench.write(ref, 0, raw_pages(FULL - 1) + random_page(1, 100))
    bench.write(ref, FULL, same_page(b"k") * 2)
    assert bench.write(ref, FULL - 1, random_page(1) + same_page(b"z")).accepted_pages == 2
    with pytest.raises(Poisoned) as caught:
        bench.read(ref, FULL - 2, 3)
    assert caught.value.dpas == ((FULL - 1) * PAGE_BYTES,)
    assert bench.read(ref, FULL) == same_page(b"z")
    assert bench.device.counters.poison_created_exhaustion_pages == 1
    assert NoMoreWritesEntered() in bench.event_kinds()
    bench.device.audit()


def test_a_refusal_does_not_tell_what_a_page_takes() -> None:
    """No host may know the compressed size of a page, nor infer it from what it holds."""
    bench = full_bench()
    ref = bench.attach(pages=FULL + 10, limit=MIB)
    bench.write(ref, 0, raw_pages(FULL - 1) + random_page(7, 500))
    limited = bench.attach("limited", pages=4, limit=100)
    grown = random_page(8, 3000)
    sizes = [bench.codec.compress(random_page(7, 500)).sizes.item(), bench.codec.compress(grown).sizes.item()]
    costs = {str(-(-size // 64) * 64 + metadata) for size in sizes for metadata in (0, 16)}
    for who, page, error in ((ref, FULL - 1, NoMoreWrites), (limited, 0, RegionLimit)):
        bench.inject(ExhaustionFault(share_milli=1000))
        with pytest.raises(error) as caught:
            bench.write(who, page, grown)
        assert not costs & set(re.findall(r"\d+", str(caught.value)))


def test_guarantees_of_others_are_no_exhaustion() -> None:
    """The region is refused; the device as a whole still takes writes."""
    for mode in ExhaustionMode:
        bench = full_bench(mode)
        bench.attach("rich", guarantee=MIB - 1000)
        poor = bench.attach("poor")
        if mode is ExhaustionMode.REFUSE:
            with pytest.raises(NoMoreWrites) as caught:
                bench.write(poor, 0, random_page(1))
            assert not caught.value.telemetry.no_more_writes
        else:
            assert bench.write(poor, 0, random_page(1)).accepted_pages == 1
        assert not bench.device.telemetry(None, bench.now_ns).no_more_writes
        assert NoMoreWritesEntered() not in bench.event_kinds()


def test_poison_mode_acknowledges_even_if_nothing_is_left() -> None:
    """All media is held back: poison takes none, so every write is acknowledged."""
    bench = full_bench(ExhaustionMode.POISON)
    ref = bench.attach(pages=20)
    bench.write(ref, 0, raw_pages(4))
    bench.inject(ExhaustionFault(share_milli=1000))
    assert bench.write(ref, 2, raw_pages(8)).accepted_pages == 8
    assert bench.write(ref, 10, random_page(1)).accepted_pages == 1
    with pytest.raises(Poisoned) as caught:
        bench.read(ref, 0, 12)
    assert caught.value.dpas == tuple(page * PAGE_BYTES for page in range(4, 11))
    bench.device.audit()


def test_poison_mode_needs_no_media_for_poison() -> None:
    """Not even metadata is left."""
    bench = Bench(
        small_config(physical_capacity_bytes=PAGE_BYTES + 16 + 15, exhaustion_mode=ExhaustionMode.POISON)
    )
    ref = bench.attach(pages=2)
    bench.write(ref, 0, random_page(1))
    assert bench.write(ref, 1, zero_page()).accepted_pages == 1
    with pytest.raises(Poisoned):
        bench.read(ref, 1)
    bench.device.audit()


def test_a_write_heals_a_poisoned_page() -> None:
    """And a TRIM does."""
    bench = full_bench(ExhaustionMode.POISON)
    ref = bench.attach(pages=FULL + 10)
    bench.write(ref, 0, raw_pages(FULL - 1))
    bench.write(ref, FULL, raw_pages(2))
    bench.trim(ref, 0, 20)
    with pytest.raises(Poisoned):
        bench.read(ref, FULL, 2)
    bench.write(ref, FULL, random_page(3))
    bench.trim(ref, FULL + 1)
    assert bench.read(ref, FULL, 2) == random_page(3) + zero_page()


def test_watermarks_are_crossed_once_each_way() -> None:
    """Fill and empty: the events alternate, with the telemetry of their moment."""
    bench = full_bench()
    ref = bench.attach(pages=FULL)
    for page in range(FULL - 1):
        bench.write(ref, page, random_page(page))
    bench.trim(ref, 0, FULL)
    crossed = [kind for kind in bench.event_kinds() if isinstance(kind, WatermarkCrossed)]
    levels = list(WatermarkLevel)
    falls = [WatermarkCrossed(one, other) for one, other in pairwise(levels)]
    assert crossed == [*falls, WatermarkCrossed(WatermarkLevel.CRITICAL, WatermarkLevel.ABOVE_HIGH)]
    for event in bench.device.events.after(0)[1]:
        if isinstance(event.kind, WatermarkCrossed):
            assert event.telemetry.watermark is event.kind.to_level
            assert event.telemetry.event_sequence == event.sequence


def test_no_more_writes_is_one_episode() -> None:
    """Entered at the first refusal, left when enough is free, counted once."""
    bench = Bench(small_config(watermarks=Watermarks(critical_milli=100, hysteresis_milli=0)))
    ref = bench.attach(pages=FULL + 1)
    bench.write(ref, 0, raw_pages(FULL))
    for _ in range(3):
        with pytest.raises(NoMoreWrites):
            bench.write(ref, FULL, random_page(1))
    bench.trim(ref, 0, 5)
    assert bench.device.telemetry(None, bench.now_ns).no_more_writes
    bench.trim(ref, 5, 30)
    assert not bench.device.telemetry(None, bench.now_ns).no_more_writes
    states = [k for k in bench.event_kinds() if isinstance(k, NoMoreWritesEntered | NoMoreWritesLeft)]
    assert states == [NoMoreWritesEntered(), NoMoreWritesLeft()]
    assert bench.device.counters.no_more_writes == 1


def test_everything_comes_back() -> None:
    """TRIM of all and FLUSH: nothing is in use, in the books and in the arena."""
    bench = Bench(small_config(trim_delay_ns=5))
    ref = bench.attach(pages=100)
    bench.write(ref, 0, random_pages(100))
    bench.trim(ref, 0, 100)
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    assert bench.device.flush_done(ticket, bench.now_ns) is None
    assert bench.device.flush_done(ticket, bench.now_ns + 5) is not None
    assert bench.used() == 0
    assert bench.device._power.arena.live_bytes == 0
    bench.device.audit()

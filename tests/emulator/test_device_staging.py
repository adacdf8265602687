"""The staging buffer: writes are acknowledged before they are compressed, and exhaustion is found late."""

from __future__ import annotations

import pytest

from cxldev.config import PAGE_BYTES, DeviceConfig, ExhaustionMode, StagingConfig
from cxldev.errors import ConfigError, InvalidField, NoMoreWrites, Poisoned, RegionInUse, RegionLimit
from cxldev.events import NoMoreWritesEntered, PoisonFound
from cxldev.faults import ExhaustionFault, PoisonFault, StagingOverflowFault
from cxldev.outcomes import PageKind
from emulator_helpers import MIB, Bench, at, random_page, random_pages, same_page, small_config, zero_page

PAGE_NS = 10
RATE = PAGE_BYTES * 100_000_000
"""Bytes per second at which a page takes PAGE_NS."""
RAW = PAGE_BYTES + 16


def staged(pages: int = 8, delay_ns: int = 100, **changes: object) -> Bench:
    """A device with a buffer of so many pages."""
    return Bench(small_config(staging=StagingConfig(pages * PAGE_BYTES, delay_ns, RATE), **changes))


def raw_pages(count: int) -> bytes:
    """Pages that do not compress."""
    return b"".join(random_page(seed) for seed in range(count))


def kind_of(bench: Bench, page: int) -> PageKind:
    """What the operator is told of a page."""
    bench.device.advance(bench.now_ns)
    [description] = bench.device.describe("alpha", at(page))
    return description.kind


def test_a_write_is_charged_as_it_came_until_it_is_compressed() -> None:
    """4096 bytes of the buffer and the metadata; then sectors. Its bytes can be read all the time."""
    bench = staged()
    ref = bench.attach()
    page = random_page(1, 100)
    bench.write(ref, 3, page)
    assert (bench.used(), kind_of(bench, 3)) == (RAW, PageKind.STAGED)
    assert bench.device.telemetry(ref, bench.now_ns).media_staged_bytes == PAGE_BYTES
    assert bench.read(ref, 3) == page
    bench.now_ns += 100 + PAGE_NS - 1
    assert bench.used() == RAW
    bench.now_ns += 1
    assert (bench.used(), kind_of(bench, 3)) == (2 * 64 + 16, PageKind.COMPRESSED)
    assert bench.read(ref, 3) == page
    counters = bench.device.counters
    assert (counters.staged_pages, counters.drained_pages, counters.written_pages) == (1, 1, 1)
    bench.device.audit()


def test_every_kind_of_page_is_drained_as_what_it_is() -> None:
    """Same-filled, compressed, raw: read from the buffer and from the media alike."""
    bench = staged()
    ref = bench.attach()
    pages = [zero_page(), same_page(b"cxlcram!"), random_page(1, 900), random_page(2)]
    data = b"".join(pages)
    bench.write(ref, 0, data)
    assert bench.read(ref, 0, 4) == data
    assert [bench.read(ref, page) for page in range(4)] == pages
    bench.now_ns += 1_000
    assert bench.read(ref, 0, 4) == data
    kinds = [kind_of(bench, page) for page in range(4)]
    assert kinds == [PageKind.SAME_FILLED, PageKind.SAME_FILLED, PageKind.COMPRESSED, PageKind.RAW]
    counters = bench.device.counters
    assert (counters.same_filled_pages, counters.raw_pages) == (2, 1)


def test_writes_leave_the_buffer_one_after_the_other() -> None:
    """One compressor: the second write waits for the first; the pages of one write leave it together."""
    bench = staged()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(3))
    bench.write(ref, 3, random_pages(2))
    bench.now_ns += 100 + 3 * PAGE_NS
    assert bench.device.telemetry(None, bench.now_ns).media_staged_bytes == 2 * PAGE_BYTES
    bench.now_ns += 2 * PAGE_NS
    assert bench.device.telemetry(None, bench.now_ns).media_staged_bytes == 0


def test_a_full_buffer_is_written_through() -> None:
    """The pages behind the last that it has place for, compressed before the answer."""
    bench = staged(4)
    ref = bench.attach()
    bench.write(ref, 0, random_pages(3))
    bench.write(ref, 3, random_pages(3))
    assert [kind_of(bench, page) is PageKind.STAGED for page in range(6)] == [True] * 4 + [False] * 2
    counters = bench.device.counters
    assert (counters.staged_pages, counters.written_through_pages, counters.written_pages) == (4, 2, 6)


def test_a_staged_page_gives_its_place_to_newer_bytes() -> None:
    """A full buffer still takes rewrites of what lies in it; they wait anew."""
    bench = staged(2)
    ref = bench.attach()
    bench.write(ref, 0, raw_pages(2))
    bench.now_ns += 50
    newer = random_page(9, 500)
    bench.write(ref, 0, newer)
    assert bench.device.counters.written_through_pages == 0
    bench.now_ns += 50 + 2 * PAGE_NS
    assert (kind_of(bench, 0), kind_of(bench, 1)) == (PageKind.STAGED, PageKind.RAW)
    bench.now_ns += 50
    assert bench.read(ref, 0) == newer
    assert bench.device.counters.drained_pages == 2


def test_what_is_replaced_stays_until_then() -> None:
    """The old sectors are charged beside the buffer: so a rewrite that needs no more always fits."""
    bench = staged()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.now_ns += 1_000
    bench.write(ref, 0, random_page(2))
    assert bench.used() == RAW + PAGE_BYTES
    bench.inject(ExhaustionFault(share_milli=1000))
    bench.now_ns += 1_000
    assert bench.read(ref, 0) == random_page(2)


@pytest.mark.parametrize("mode", list(ExhaustionMode))
def test_exhaustion_is_found_late(mode: ExhaustionMode) -> None:
    """The write was acknowledged: its pages are lost, and counted; only mode `refuse` says so at once."""
    bench = staged(8, exhaustion_mode=mode)
    ref = bench.attach()
    bench.inject(ExhaustionFault(share_milli=1000))
    assert bench.free() == 8 * PAGE_BYTES
    bench.device.clear(None, bench.now_ns)
    # Room for the metadata of four pages and no sector more.
    bench.inject(ExhaustionFault(bytes=MIB - 8 * PAGE_BYTES - 4 * 16))
    assert bench.write(ref, 0, raw_pages(4)).accepted_pages == 4
    assert not bench.device.telemetry(ref, bench.now_ns).no_more_writes
    bench.now_ns += 1_000
    telemetry = bench.device.telemetry(ref, bench.now_ns)
    assert telemetry.no_more_writes
    assert telemetry.media_staged_bytes == 0
    assert bench.device.counters.poison_created_staging_pages == 4
    told = [kind for kind in bench.event_kinds() if isinstance(kind, PoisonFound | NoMoreWritesEntered)]
    dpas = tuple(page * PAGE_BYTES for page in range(4))
    at_once = [PoisonFound(dpas)] if mode is ExhaustionMode.REFUSE else []
    assert told == [NoMoreWritesEntered(), *at_once]
    for _ in range(2):
        with pytest.raises(Poisoned):
            bench.read(ref, 0, 4)
    assert sum(isinstance(kind, PoisonFound) for kind in bench.event_kinds()) == 1
    bench.device.audit()


def test_nothing_is_staged_while_no_more_writes_holds() -> None:
    """The device knows: it says no at once, and what lies in the buffer keeps its bytes."""
    bench = staged(8)
    ref = bench.attach(pages=300)
    bench.inject(ExhaustionFault(share_milli=1000))
    with pytest.raises(NoMoreWrites) as caught:
        bench.write(ref, 0, raw_pages(9))
    assert caught.value.accepted_pages == 0
    bench.device.clear(None, bench.now_ns)
    bench.write(ref, 0, raw_pages(4))
    assert bench.device.telemetry(ref, bench.now_ns).media_staged_bytes == 4 * PAGE_BYTES


def test_a_refusal_counts_the_staged_pages_of_its_request() -> None:
    """They are acknowledged; the first that found neither buffer nor media is named."""
    bench = staged(2, metadata_bytes=0)
    ref = bench.attach()
    bench.inject(ExhaustionFault(share_milli=1000))
    with pytest.raises(NoMoreWrites, match="page 0x2000 does not fit; 2 of 3 pages") as caught:
        bench.write(ref, 0, raw_pages(3))
    assert (caught.value.accepted_pages, caught.value.refused_dpa) == (2, 2 * PAGE_BYTES)
    assert bench.read(ref, 0, 2) == raw_pages(2)


def test_the_limit_is_judged_before_the_answer() -> None:
    """A staged page counts as large as it came: what it compresses to never goes beyond the limit."""
    bench = staged(8)
    ref = bench.attach(limit=2 * RAW)
    with pytest.raises(RegionLimit) as caught:
        bench.write(ref, 0, raw_pages(3))
    assert caught.value.accepted_pages == 2
    bench.now_ns += 1_000
    assert bench.device.counters.poison_created_staging_pages == 0


def test_a_guarantee_holds_for_pages_in_the_buffer() -> None:
    """Others cannot take meanwhile what they will need."""
    bench = staged(8, physical_capacity_bytes=24 * PAGE_BYTES)
    mine, other = bench.attach("alpha", 16, guarantee=8 * RAW), bench.attach("beta", 16)
    bench.write(mine, 0, raw_pages(8))
    with pytest.raises(NoMoreWrites):
        bench.write(other, 0, raw_pages(9))
    bench.now_ns += 1_000
    assert bench.read(mine, 0, 8) == raw_pages(8)


def test_a_flush_drains_the_buffer() -> None:
    """What came before it, TRIMs and writes; not what came behind."""
    bench = staged(8, trim_delay_ns=30)
    ref = bench.attach()
    bench.write(ref, 0, raw_pages(2))
    ticket = bench.device.begin_flush(ref, bench.now_ns)
    due_ns = bench.now_ns + 100 + 2 * PAGE_NS
    assert bench.device.flush_due(ticket, bench.now_ns) == due_ns
    bench.write(ref, 2, raw_pages(1))
    bench.now_ns = due_ns - 1
    assert bench.device.flush_done(ticket, bench.now_ns) is None
    bench.now_ns += 1
    assert bench.device.flush_done(ticket, bench.now_ns) is not None
    assert kind_of(bench, 2) is PageKind.STAGED


def test_trim_of_staged_pages() -> None:
    """Zeros at once; the buffer is free at once; what was on the media waits as ever."""
    bench = staged(8, trim_delay_ns=30)
    ref = bench.attach()
    bench.write(ref, 0, raw_pages(2))
    assert bench.trim(ref, 0).trimmed_pages == 1
    assert bench.read(ref, 0) == zero_page()
    assert bench.device.telemetry(ref, bench.now_ns).media_staged_bytes == PAGE_BYTES
    bench.now_ns += 1_000
    assert bench.used() == RAW
    bench.trim(ref, 0, 64)
    bench.now_ns += 30
    assert bench.used() == 0


def test_room_that_comes_back_first_is_there_however_late_the_clock_is_looked_at() -> None:
    """A TRIM due before the page leaves the buffer makes room for it, in whatever steps time passes."""
    bench = staged(2, trim_delay_ns=50, physical_capacity_bytes=4 * PAGE_BYTES, metadata_bytes=0)
    ref = bench.attach(pages=8)
    bench.write(ref, 0, raw_pages(2))
    bench.now_ns += 1_000
    bench.trim(ref, 0, 2)
    bench.write(ref, 2, raw_pages(2))
    bench.now_ns += 1_000
    assert bench.read(ref, 2, 2) == raw_pages(2)


def test_a_region_that_goes_takes_its_staged_pages_along() -> None:
    """Detached, expired, reset: nothing is left behind, and what was staged is not drained into others."""
    bench = staged(8)
    ref, other = bench.attach("alpha"), bench.attach("beta", lease_ns=1_000_000)
    bench.write(ref, 0, raw_pages(2))
    bench.write(other, 0, raw_pages(2))
    assert bench.device.detach(ref, bench.now_ns) == 2 * RAW
    bench.now_ns += 1_000_000
    assert (bench.used(), bench.device.counters.drained_pages) == (0, 2)
    bench.device.audit()


def test_staged_pages_cannot_be_cut_off() -> None:
    """They hold data."""
    bench = staged()
    ref = bench.attach()
    bench.write(ref, 8, raw_pages(1))
    with pytest.raises(RegionInUse):
        bench.device.resize(ref, 8 * PAGE_BYTES, bench.now_ns)


def test_injected_poison_takes_a_page_out_of_the_buffer() -> None:
    """It is lost there, once; a write heals it."""
    bench = staged()
    ref = bench.attach()
    bench.write(ref, 0, raw_pages(2))
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    bench.now_ns += 1_000
    with pytest.raises(Poisoned):
        bench.read(ref, 0)
    bench.write(ref, 0, raw_pages(1))
    assert bench.read(ref, 0, 2) == raw_pages(2)


def test_an_overflow_loses_what_would_have_fitted() -> None:
    """The fault: acknowledged pages are lost on their way to the media, though there is room for them."""
    bench = staged()
    ref = bench.attach()
    bench.inject(StagingOverflowFault())
    bench.write(ref, 0, raw_pages(3))
    assert bench.read(ref, 0, 3) == raw_pages(3)
    bench.now_ns += 1_000
    with pytest.raises(Poisoned):
        bench.read(ref, 0, 3)
    assert bench.device.counters.poison_created_staging_pages == 3
    assert not bench.device.telemetry(ref, bench.now_ns).no_more_writes
    assert PoisonFound((0, PAGE_BYTES, 2 * PAGE_BYTES)) in bench.event_kinds()
    bench.device.audit()


def test_an_overflow_needs_a_buffer() -> None:
    """A fault that could never fire is refused."""
    with pytest.raises(InvalidField, match="--staging"):
        Bench().inject(StagingOverflowFault())


def test_the_buffer_is_set_aside() -> None:
    """Pages that are written through cannot have it, and no watermark counts it as what remains."""
    bench = staged(128, delay_ns=10_000)
    ref = bench.attach(pages=512)
    bench.write(ref, 0, raw_pages(128))
    bench.write(ref, 128, raw_pages(127))
    with pytest.raises(NoMoreWrites):
        bench.write(ref, 255, raw_pages(1))
    assert bench.free() < RAW
    assert bench.device.telemetry(ref, bench.now_ns).watermark == 5


@pytest.mark.parametrize(
    ("staging", "told"),
    [
        ({"bytes": 1000}, "whole pages"),
        ({"bytes": -PAGE_BYTES}, "whole pages"),
        ({"bytes": MIB}, "at most half"),
        ({"delay_ns": -1}, "staging delay"),
        ({"bytes_per_second": 0}, "staging rate"),
    ],
)
def test_a_buffer_that_cannot_be(staging: dict[str, int], told: str) -> None:
    """Said in one line."""
    with pytest.raises(ConfigError, match=told):
        DeviceConfig(physical_capacity_bytes=MIB, staging=StagingConfig(**staging))

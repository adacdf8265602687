"""One page at a time, in plain numbers: the same device as by the general paths, or left to them."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from cxldev.config import PAGE_BYTES, StagingConfig
from cxldev.errors import LeaseExpired, UnknownSession
from cxldev.faults import LatencyFault, PoisonFault
from cxldev.outcomes import SessionRef, WriteOutcome
from cxldev.single_pages import read_again, read_single, write_single
from emulator_helpers import Bench, random_page, same_page, small_config, snapshot, zero_page

KINDS = (zero_page(), same_page(b"abcdefgh"), random_page(1, 200), random_page(2, 3000), random_page(3))


def write_one(bench: Bench, ref: SessionRef, dpa: int, page: bytes) -> WriteOutcome | None:
    """In plain numbers."""
    packed = bench.codec.compress_single(page)
    return write_single(bench.device, ref, dpa, packed, bench.now_ns, in_flight_pages=0)


def read_one(bench: Bench, ref: SessionRef, dpa: int) -> tuple[bytes | None, int] | None:
    """In plain numbers: the page and its device time."""
    held = read_single(bench.device, ref, dpa, bench.now_ns, in_flight_pages=0)
    if held is None:
        return None
    return bench.codec.expand_single(held.kind, held.word, held.frame), held.device_ns


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from((None, *range(len(KINDS))))), max_size=40))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_both_ways_lead_to_the_same_device(steps: list[tuple[int, int | None]]) -> None:
    """Writes and reads (None), pages of every kind over every kind: bytes, times, books, counters."""
    one, other = Bench(), Bench()
    refs = one.attach(), other.attach()
    for page, kind in steps:
        if kind is None:
            outcome = other.read_outcome(refs[1], page)
            assert read_one(one, refs[0], page * PAGE_BYTES) == (bytes(outcome.data), outcome.device_ns)
        else:
            written = other.write(refs[1], page, KINDS[kind])
            assert write_one(one, refs[0], page * PAGE_BYTES, KINDS[kind]) == written
    assert one.device.status(one.now_ns) == other.device.status(other.now_ns)
    assert snapshot(one.device, one.now_ns) == snapshot(other.device, other.now_ns)
    one.device.audit()


@pytest.mark.parametrize("dpa", [1, PAGE_BYTES // 2, 64 * PAGE_BYTES, (1 << 64) - PAGE_BYTES])
def test_addresses_that_are_wrong_are_left_to_the_general_path(dpa: int) -> None:
    """It says what is wrong with them; nothing has changed."""
    bench = Bench()
    ref = bench.attach(pages=64)
    before = snapshot(bench.device, bench.now_ns)
    assert read_one(bench, ref, dpa) is None
    assert write_one(bench, ref, dpa, KINDS[2]) is None
    assert snapshot(bench.device, bench.now_ns) == before


def test_what_needs_a_decision_is_left_to_the_general_path() -> None:
    """A fault that is armed, a page that is poisoned, one that does not fit, and staging."""
    bench = Bench()
    ref = bench.attach(pages=512)
    bench.write(ref, 0, KINDS[2])
    fault = bench.inject(LatencyFault(device_ns=5))
    assert read_one(bench, ref, 0) is None
    assert write_one(bench, ref, 0, KINDS[2]) is None
    bench.device.clear(fault, bench.now_ns)
    bench.inject(PoisonFault(host="alpha", dpas=(0,)))
    assert read_one(bench, ref, 0) is None
    assert write_one(bench, ref, 0, KINDS[2]) is None
    page = 1
    while write_one(bench, ref, page * PAGE_BYTES, random_page(page)) is not None:
        page += 1
    assert page > 200
    staging = Bench(small_config(staging=StagingConfig(bytes=16 * PAGE_BYTES, delay_ns=1_000_000)))
    ref = staging.attach()
    assert write_one(staging, ref, 0, KINDS[2]) is None
    staging.write(ref, 0, KINDS[2])
    assert read_one(staging, ref, 0) is None


def test_damage_is_found_and_the_read_is_counted_once() -> None:
    """The general path reads the page again, and poisons it."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, KINDS[3])
    power = bench.device.power
    power.arena.memory[power.regions.find(ref).table.place.item(0) + 20] ^= 1
    before = dataclasses.replace(bench.device.counters)
    found = read_one(bench, ref, 0)
    assert found is not None
    assert found[0] is None
    read_again(bench.device)
    assert bench.device.counters == before


def test_the_session_is_looked_at_first() -> None:
    """As by every call; time moves on by it, too."""
    bench = Bench()
    ref = bench.attach(lease_ns=1_000_000)
    unknown = SessionRef("nobody", ref.generation)
    with pytest.raises(UnknownSession):
        read_one(bench, unknown, 0)
    with pytest.raises(UnknownSession):
        write_one(bench, unknown, 0, KINDS[2])
    bench.now_ns += 1_000_000
    with pytest.raises(LeaseExpired):
        read_one(bench, ref, 0)
    assert bench.device.counters.leases_expired == 1

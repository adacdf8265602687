"""Pages move within the arena a few at a time: no call pays for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from cxldev import arena, power_on
from cxldev.config import PAGE_BYTES
from cxldev.errors import Poisoned
from emulator_helpers import Bench, at, random_page, random_pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldev.arena import Arena
    from cxldev.device import SessionRef

COUNT, KEPT, STEP = 160, 16, 3
"""Pages written, pages that stay, pages moved in one step."""
LAST = range(COUNT - KEPT, COUNT)


@pytest.fixture(autouse=True)
def _small_steps() -> Iterator[None]:
    """Any waste is worth a move, and a step is short."""
    with mock.patch.object(arena, "SLACK_BYTES", 0), mock.patch.object(power_on, "_MOVED_TOGETHER", STEP):
        yield


def moving_bench() -> tuple[Bench, SessionRef, bytes]:
    """A device whose last pages began to move: most of the others were trimmed."""
    bench = Bench()
    ref = bench.attach(pages=256)
    data = random_pages(COUNT)
    bench.write(ref, 0, data)
    bench.trim(ref, 0, COUNT - KEPT)
    return bench, ref, data[-KEPT * PAGE_BYTES :]


def arena_of(bench: Bench) -> Arena:
    """Where its pages are."""
    return bench.device._power.arena


def finish(bench: Bench) -> int:
    """Let the device tidy up by itself: how many steps that took."""
    for steps in range(100):
        if not arena_of(bench).untidy:
            return steps
        due = bench.device.advance(bench.now_ns)
        assert due is not None
        bench.now_ns = due
        bench.device.audit()
    pytest.fail("the arena is never tidy")


def test_one_call_moves_a_few_pages() -> None:
    """The rest follows, and the other half goes back to the system."""
    bench, ref, data = moving_bench()
    assert arena_of(bench).moving
    assert bench.read(ref, LAST.start, KEPT) == data
    steps = finish(bench)
    assert steps >= KEPT // STEP
    assert not arena_of(bench).left_bytes
    assert bench.read(ref, LAST.start, KEPT) == data
    bench.device.audit()


def test_writes_trims_and_resizes_between_the_steps() -> None:
    """What is overwritten or trimmed need not move any more; one page or many."""
    bench, ref, data = moving_bench()
    changed = bytearray(data)
    for page in (LAST.stop - 1, LAST.stop - 2):
        bench.write(ref, page, random_page(page, 900))
        index = (page - LAST.start) * PAGE_BYTES
        changed[index : index + PAGE_BYTES] = random_page(page, 900)
        bench.device.audit()
    bench.trim(ref, LAST.start + 4)
    changed[4 * PAGE_BYTES : 5 * PAGE_BYTES] = bytes(PAGE_BYTES)
    bench.device.resize(ref, 400 * PAGE_BYTES, bench.now_ns)
    bench.write(ref, 300, random_pages(5))
    bench.device.audit()
    finish(bench)
    assert bench.read(ref, LAST.start, KEPT) == changed
    assert bench.read(ref, 300, 5) == random_pages(5)


def test_a_region_that_goes_between_the_steps() -> None:
    """Its pages need not move."""
    bench, ref, _ = moving_bench()
    bench.device.detach(ref, bench.now_ns)
    bench.device.audit()
    finish(bench)
    assert not arena_of(bench).left_bytes


def test_an_open_read_keeps_the_half_that_was_left() -> None:
    """It reads on where it was; the device does not ask to be woken for it."""
    bench = Bench()
    ref = bench.attach(pages=256, lease_ns=10**9)
    data = random_pages(COUNT)
    bench.write(ref, 0, data)
    ticket = bench.device.begin_read(ref, at(*range(COUNT)), bench.now_ns)
    bench.trim(ref, 0, COUNT - KEPT)
    lease_end = 1_000 + 10**9
    while (due := bench.device.advance(bench.now_ns)) != lease_end:
        assert due is not None
        bench.now_ns = due
    assert arena_of(bench).untidy
    bench.write(ref, 0, random_pages(COUNT, 3))
    outcome = bench.device.end_read(ticket, bench.codec.expand(ticket.stored), bench.now_ns)
    assert bytes(outcome.data) == data
    finish(bench)


def test_memory_goes_back_to_the_system() -> None:
    """What was left reads as zeros: it is not there any more."""
    bench, _, _ = moving_bench()
    memory = arena_of(bench).memory
    assert any(memory[:PAGE_BYTES])
    finish(bench)
    assert not any(memory[:PAGE_BYTES])


def test_a_read_that_never_ends_does_not_fill_the_arena() -> None:
    """Where steps cannot go on and room gets short, all pages move at once to another arena."""

    def small_arena(_: object) -> Arena:
        return arena.Arena(64 << 10, 128 << 10)

    with mock.patch.object(power_on.PowerOn, "_new_arena", small_arena):
        bench = Bench()
        ref = bench.attach(pages=64)
        first = arena_of(bench)
        data = random_pages(8)
        bench.write(ref, 0, data)
        ticket = bench.device.begin_read(ref, at(*range(8)), bench.now_ns)
        for seed in range(100):
            bench.write(ref, 0, random_pages(8, seed))
            bench.device.audit()
        assert arena_of(bench) is not first
        assert bench.read(ref, 0, 8) == random_pages(8, 99)
        outcome = bench.device.end_read(ticket, bench.codec.expand(ticket.stored), bench.now_ns)
        assert bytes(outcome.data) == data


def test_damage_found_after_all_pages_moved_at_once() -> None:
    """Places of another arena say nothing: the page is known by its size and checksum."""
    with mock.patch.object(arena, "SLACK_BYTES", 64 << 20):
        bench = Bench()
        ref = bench.attach()
        bench.write(ref, 0, random_page(1))
        bench.write(ref, 2, random_page(2))
        ticket = bench.device.begin_read(ref, at(2), bench.now_ns)
        ticket.stored.memory[int(ticket.stored.places[0])] ^= 1
        bench.trim(ref, 0)
        bench.device._power._rebuild()
        with pytest.raises(Poisoned):
            bench.device.end_read(ticket, bench.codec.expand(ticket.stored), bench.now_ns)
        assert bench.device.counters.poison_created_checksum_pages == 1
        bench.device.audit()

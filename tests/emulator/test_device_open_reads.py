"""Between begin_read and end_read the lock is free: whatever happens then, the reader sees what was."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from cxldev import arena
from cxldev.config import PAGE_BYTES
from cxldev.errors import OutOfRange, Poisoned, SessionEnded, StaleGeneration
from cxldev.events import PoisonFound
from cxldev.faults import PoisonFault, ResetFault
from emulator_helpers import Bench, at, random_page, random_pages, small_config

if TYPE_CHECKING:
    from cxldev.device import ReadTicket, SessionRef

COUNT = 40


def opened() -> tuple[Bench, SessionRef, bytes, ReadTicket]:
    """A device with pages of all sizes, and a read of them that is under way."""
    bench = Bench()
    ref = bench.attach(pages=256)
    data = random_pages(COUNT)
    bench.write(ref, 0, data)
    return bench, ref, data, bench.device.begin_read(ref, at(*range(COUNT)), bench.now_ns)


def finish(bench: Bench, ticket: ReadTicket) -> bytes:
    """Expand and end the read: its bytes."""
    outcome = bench.device.end_read(ticket, bench.codec.expand(ticket.stored), bench.now_ns)
    bench.device.audit()
    return bytes(outcome.data)


def churn(bench: Bench, ref: SessionRef, rounds: int = 5) -> None:
    """Overwrite, trim and write again, so that every place that could be used anew is."""
    for seed in range(1, rounds):
        bench.write(ref, 0, random_pages(COUNT, seed))
        bench.trim(ref, 0, COUNT // 2)
        bench.write(ref, COUNT, random_pages(COUNT, seed + 100))
        for page in range(COUNT):
            bench.write(ref, page, random_page(seed * 1000 + page, 1 + 100 * page))
        bench.device.audit()


def test_overwritten_and_trimmed_pages_read_as_they_were() -> None:
    """Their places wait in limbo."""
    bench, ref, data, ticket = opened()
    churn(bench, ref)
    assert finish(bench, ticket) == data


def test_places_are_used_again_once_the_read_has_ended() -> None:
    """Limbo empties: memory does not grow with reads."""
    bench, ref, _, ticket = opened()
    churn(bench, ref)
    finish(bench, ticket)
    power = bench.device._power
    assert not power.arena._limbo
    churn(bench, ref)
    top = power.arena.top
    churn(bench, ref)
    assert power.arena.top == top


def test_the_region_may_go_away() -> None:
    """Detached while the read is under way: the bytes are still those."""
    bench, ref, data, ticket = opened()
    bench.device.detach(ref, bench.now_ns)
    other = bench.attach("other", 256)
    bench.write(other, 0, random_pages(2 * COUNT, 9))
    assert finish(bench, ticket) == data


def test_the_device_may_be_reset() -> None:
    """The old arena lives until the ticket ends."""
    bench, _, data, ticket = opened()
    bench.inject(ResetFault())
    bench.write(bench.attach("other", 256), 0, random_pages(2 * COUNT, 9))
    assert finish(bench, ticket) == data


def test_the_arena_may_be_compacted() -> None:
    """Pages move; open reads go on where they were, later ones look in the new place."""
    with mock.patch.object(arena, "SLACK_BYTES", 0):
        bench, ref, data, ticket = opened()
        [region] = bench.device._power.regions
        before = region.table.place[COUNT - 4 : COUNT].copy()
        bench.trim(ref, 0, COUNT - 4)
        assert (region.table.place[COUNT - 4 : COUNT] != before).all()
        bench.write(ref, 100, random_pages(COUNT, 5))
        assert bench.read(ref, COUNT - 4, 4) == data[(COUNT - 4) * PAGE_BYTES :]
        assert finish(bench, ticket) == data


def test_poison_that_comes_later_is_not_seen() -> None:
    """The read began before; the next one finds it."""
    bench, ref, data, ticket = opened()
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    assert finish(bench, ticket) == data
    with pytest.raises(Poisoned):
        bench.read(ref, 0)


def test_an_abandoned_read_frees_its_places() -> None:
    """Once or twice."""
    bench, ref, _, ticket = opened()
    churn(bench, ref)
    bench.device.abandon_read(ticket)
    bench.device.abandon_read(ticket)
    assert not bench.device._power.arena._limbo
    bench.device.audit()


def damage(ticket: ReadTicket, index: int) -> None:
    """Flip a bit of a stored page, as a bad medium would."""
    ticket.stored.memory[int(ticket.stored.places[index])] ^= 1


def test_damaged_bytes_are_poison_never_wrong_data() -> None:
    """Found by the checksum; the page is poisoned from then on."""
    bench, ref, data, ticket = opened()
    damage(ticket, 7)
    with pytest.raises(Poisoned) as caught:
        finish(bench, ticket)
    assert caught.value.dpas == (7 * PAGE_BYTES,)
    assert bench.device.counters.poison_created_checksum_pages == 1
    assert bench.event_kinds()[-1] == PoisonFound((7 * PAGE_BYTES,))
    bench.device.audit()
    with pytest.raises(Poisoned):
        bench.read(ref, 7)
    assert bench.read(ref, 8, 4) == data[8 * PAGE_BYTES : 12 * PAGE_BYTES]


def test_damage_of_bytes_that_are_gone_poisons_nothing_new() -> None:
    """The page was written anew while the read was under way: the new bytes are sound."""
    bench, ref, _, ticket = opened()
    damage(ticket, 7)
    bench.write(ref, 7, random_page(99))
    with pytest.raises(Poisoned):
        finish(bench, ticket)
    assert bench.read(ref, 7) == random_page(99)


def test_damage_found_after_the_region_shrank_or_went() -> None:
    """There is no page left to poison."""
    bench, ref, _, ticket = opened()
    damage(ticket, 7)
    bench.trim(ref, 0, COUNT)
    bench.device.resize(ref, PAGE_BYTES, bench.now_ns)
    with pytest.raises(Poisoned):
        finish(bench, ticket)
    bench, ref, _, ticket = opened()
    damage(ticket, 7)
    bench.device.detach(ref, bench.now_ns)
    with pytest.raises(Poisoned):
        finish(bench, ticket)
    assert PoisonFound((7 * PAGE_BYTES,)) not in bench.event_kinds()


def test_a_read_across_a_reset_changes_nothing_new() -> None:
    """Poison and damage that it meets are of the power-on that is gone: no event, no page, no count."""
    bench, ref, _, _ = opened()
    bench.inject(PoisonFault("alpha", dpas=(0,)))
    ticket = bench.device.begin_read(ref, at(*range(COUNT)), bench.now_ns)
    damage(ticket, 7)
    bench.inject(ResetFault())
    new = bench.attach(pages=256)
    bench.write(new, 0, random_pages(COUNT))
    before = bench.event_kinds()
    with pytest.raises(Poisoned) as caught:
        finish(bench, ticket)
    assert caught.value.dpas == (0, 7 * PAGE_BYTES)
    assert bench.event_kinds() == before
    assert bench.device.counters.poison_created_checksum_pages == 0
    assert bench.read(new, 0, COUNT) == random_pages(COUNT)


def test_damage_found_after_the_pages_moved() -> None:
    """Compaction copies the damage: the page is poisoned where it is now."""
    with mock.patch.object(arena, "SLACK_BYTES", 0):
        bench, ref, _, ticket = opened()
        damage(ticket, COUNT - 2)
        place = bench.device._power.regions.must_have("alpha").table.place[COUNT - 2]
        bench.trim(ref, 0, COUNT - 4)
        assert bench.device._power.regions.must_have("alpha").table.place[COUNT - 2] != place
        with pytest.raises(Poisoned):
            finish(bench, ticket)
        assert bench.device.counters.poison_created_checksum_pages == 1
        with pytest.raises(Poisoned):
            bench.read(ref, COUNT - 2)
        bench.device.audit()


def test_writes_take_effect_in_the_order_of_their_commits() -> None:
    """Not in that in which they began."""
    bench = Bench()
    ref = bench.attach()
    first = bench.device.begin_write(ref, at(0), PAGE_BYTES, bench.now_ns)
    second = bench.device.begin_write(ref, at(0), PAGE_BYTES, bench.now_ns)
    bench.device.commit_write(second, bench.codec.compress(random_page(2)), bench.now_ns)
    bench.device.commit_write(first, bench.codec.compress(random_page(1)), bench.now_ns)
    assert bench.read(ref, 0) == random_page(1)


def test_a_write_whose_session_ended_meanwhile_stores_nothing() -> None:
    """Detached, or the device reset; the next session of the host is not written to."""
    bench = Bench()
    ref = bench.attach()
    packed = bench.codec.compress(random_page(1))
    ticket = bench.device.begin_write(ref, at(0), PAGE_BYTES, bench.now_ns)
    new = bench.attach(take_over=True)
    with pytest.raises(SessionEnded):
        bench.device.commit_write(ticket, packed, bench.now_ns)
    ticket = bench.device.begin_write(new, at(0), PAGE_BYTES, bench.now_ns)
    bench.inject(ResetFault())
    with pytest.raises(StaleGeneration):
        bench.device.commit_write(ticket, packed, bench.now_ns)
    assert bench.used() == 0


@pytest.mark.parametrize("count", [1, 5])
def test_a_write_whose_region_shrank_meanwhile_stores_nothing(count: int) -> None:
    """It would write beyond the end."""
    bench = Bench(small_config())
    ref = bench.attach(pages=10)
    ticket = bench.device.begin_write(ref, at(*range(10 - count, 10)), count * PAGE_BYTES, bench.now_ns)
    bench.device.resize(ref, 9 * PAGE_BYTES, bench.now_ns)
    with pytest.raises(OutOfRange):
        bench.device.commit_write(ticket, bench.codec.compress(random_pages(count)), bench.now_ns)
    assert bench.used() == 0

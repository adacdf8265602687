"""A device out of its saved state: the same to everybody who asks it anything.

`test_device_machine` restarts it at any point of random sequences; here is each part by itself.
"""

from __future__ import annotations

import pytest

from cxldev.config import StagingConfig
from cxldev.device import CreditRequest
from cxldev.errors import LeaseExpired, Poisoned, SessionEnded
from cxldev.events import Missed
from cxldev.faults import BitFlipFault, ExhaustionFault, PoisonFault
from cxldev.outcomes import PageKind
from cxldev.restore import restore_device
from cxldev.saved_state import StateMismatch, StateOvertaken
from emulator_helpers import MIB, Bench, at, random_page, random_pages, same_page, small_config
from saved_state_helpers import saved, saved_and_restored


def restart(bench: Bench, *, away_ns: int = 0, now_ns: int = 77) -> None:
    """The bench goes on with a device that was restored, in a process whose clock began anew."""
    bench.device = saved_and_restored(bench.device, bench.now_ns, now_ns, away_ns=away_ns)
    bench.now_ns = now_ns
    bench.device.audit()


def test_pages_of_every_kind_read_as_before() -> None:
    """Compressed, raw, same-filled, empty and poisoned pages, overwrites and holes between them."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(20) + random_page(1) + same_page(b"wordword") + bytes(4096))
    bench.write(ref, 3, random_page(7, 900))
    bench.trim(ref, 10, 4)
    bench.inject(PoisonFault("alpha", dpas=(5 * 4096,)))
    pages = [page for page in range(24) if page != 5]
    held = [bench.read(ref, page) for page in pages]
    telemetry = bench.device.telemetry(ref, bench.now_ns)
    kinds = bench.device.describe("alpha", at(*range(24)))
    restart(bench)
    assert bench.device.telemetry(ref, bench.now_ns) == telemetry
    assert bench.device.describe("alpha", at(*range(24))) == kinds
    assert [bench.read(ref, page) for page in pages] == held
    with pytest.raises(Poisoned):
        bench.read(ref, 5)


def test_damage_on_the_media_is_found_as_late_as_without_a_restart() -> None:
    """A flipped bit is saved with the bytes that it is in: the read's checksum finds it."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_page(1) + random_page(2))
    bench.inject(BitFlipFault("alpha", dpas=(0,), bits=3))
    restart(bench)
    assert bench.read(ref, 1) == random_page(2)
    with pytest.raises(Poisoned):
        bench.read(ref, 0)


def test_the_arena_is_packed_and_its_holes_are_used_again() -> None:
    """Few pages among waste: their file is not as long as the arena was."""
    bench = Bench(small_config(physical_capacity_bytes=4 * MIB))
    ref = bench.attach(pages=512)
    bench.write(ref, 0, random_pages(512))
    bench.trim(ref, 1, 500)
    held = bench.read(ref, 501, 11)
    _, media = saved(bench.device, bench.now_ns)
    assert len(media) < 128 << 10
    restart(bench)
    assert bench.read(ref, 501, 11) == held
    bench.write(ref, 1, random_pages(400, 3))
    assert bench.read(ref, 1, 400) == random_pages(400, 3)
    bench.device.audit()


def test_queued_trims_are_released_when_they_are_due_by_wall_time() -> None:
    """The time without a process counts."""
    bench = Bench(small_config(trim_delay_ns=1_000))
    ref = bench.attach()
    bench.write(ref, 0, random_page(1))
    bench.trim(ref, 0)
    used = bench.used()
    restart(bench, away_ns=400)
    assert bench.used() == used
    bench.now_ns += 600
    assert bench.used() == 0


def test_staged_pages_stay_staged_and_are_drained_behind() -> None:
    """Acknowledged before the restart, compressed after it; the FLUSH waits for them."""
    config = small_config(staging=StagingConfig(16 * 4096, delay_ns=1_000))
    bench = Bench(config)
    ref = bench.attach()
    bench.write(ref, 0, random_pages(4))
    bench.write(ref, 2, random_pages(3, 5))
    restart(bench)
    assert [page.kind for page in bench.device.describe("alpha", at(0, 4))] == [PageKind.STAGED] * 2
    due_ns = bench.flush_due(ref)
    assert due_ns is not None
    assert due_ns > bench.now_ns
    bench.now_ns = due_ns
    assert bench.device.telemetry(ref, bench.now_ns).media_staged_bytes == 0
    assert bench.read(ref, 0, 5) == random_pages(4)[: 2 * 4096] + random_pages(3, 5)
    bench.device.audit()


def test_shares_credits_and_ended_sessions_are_kept() -> None:
    """What was promised stays promised, and a session that ended is told how."""
    bench = Bench()
    gone = bench.attach("beta")
    bench.device.detach(gone, bench.now_ns)
    expired = bench.attach("gamma", lease_ns=1_000_000)
    ref = bench.attach(guarantee=64 << 10, limit=128 << 10)
    bench.device.grant_credits(ref, CreditRequest(5, 0, 0, 8), bench.now_ns)
    bench.now_ns += 1_000_000
    region = bench.device.telemetry(ref, bench.now_ns).region
    restart(bench)
    assert bench.device.telemetry(ref, bench.now_ns).region == region
    assert bench.device.grant_credits(ref, CreditRequest(5, 0, 0, 8), bench.now_ns).granted == 0
    with pytest.raises(SessionEnded):
        bench.device.telemetry(gone, bench.now_ns)
    with pytest.raises(LeaseExpired):
        bench.device.telemetry(expired, bench.now_ns)


def test_leases_begin_anew() -> None:
    """However long the device was away: its hosts could not renew."""
    bench = Bench()
    ref = bench.attach(lease_ns=1_000_000)
    bench.now_ns += 999_999
    restart(bench, away_ns=10**15)
    bench.now_ns += 999_999
    bench.device.telemetry(ref, bench.now_ns)
    bench.now_ns += 1
    with pytest.raises(LeaseExpired):
        bench.device.telemetry(ref, bench.now_ns)


def test_event_numbers_go_on() -> None:
    """A watcher that comes back is told that what it missed is not here any more."""
    bench = Bench()
    bench.attach()
    bench.attach("beta")
    restart(bench)
    assert bench.device.events.after(1) == (Missed(2, 2), [])
    bench.attach("delta", take_over=True)
    (event,) = bench.device.events.after(2)[1]
    assert (event.sequence, event.generation) == (3, "g1")


def test_faults_are_not_armed_again() -> None:
    """What an exhaustion held back is free."""
    bench = Bench()
    bench.attach()
    bench.inject(ExhaustionFault(share_milli=1000))
    assert bench.free() == 0
    restart(bench)
    assert bench.free() == MIB
    assert not bench.device.status(bench.now_ns).faults


def test_a_change_overtakes_a_snapshot() -> None:
    """What was gathered would tell a host that its write never was."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(8))
    snapshot = bench.device.snapshot(bench.now_ns)
    bench.write(ref, 0, random_page(1))
    with pytest.raises(StateOvertaken):
        snapshot.step()
    snapshot.end()


def test_the_mark_moves_with_every_change_and_with_no_question() -> None:
    """Reads, renewals and telemetry leave a saved state as good as it was."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(2))
    marks = {bench.device.change_mark}
    bench.read(ref, 0, 2)
    bench.device.renew(ref, bench.now_ns)
    bench.device.status(bench.now_ns)
    bench.trim(ref, 9)
    bench.now_ns += 100
    bench.device.advance(bench.now_ns)
    assert bench.device.change_mark in marks

    def changed() -> None:
        assert bench.device.change_mark not in marks
        marks.add(bench.device.change_mark)

    bench.write(ref, 0, random_page(9))
    changed()
    bench.write(ref, 0, random_page(8))
    changed()
    bench.write(ref, 0, bytes(8192))
    changed()
    bench.trim(ref, 1)
    changed()
    bench.device.resize(ref, 32 * 4096, bench.now_ns)
    changed()
    bench.device.grant_credits(ref, CreditRequest(1, 0, 0, 3), bench.now_ns)
    changed()
    bench.write(ref, 3, random_page(4))
    marks.add(bench.device.change_mark)
    bench.inject(BitFlipFault("alpha", dpas=(3 * 4096,)))
    changed()
    bench.inject(PoisonFault("alpha", dpas=(3 * 4096,)))
    changed()
    bench.device.detach(ref, bench.now_ns)
    changed()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"physical_capacity_bytes": 2 * MIB}, "physical 1048576, not 2097152"),
        ({"sector_bytes": 128}, "sector 64, not 128"),
        ({"staging": StagingConfig(4096)}, "staging 0, not 4096"),
    ],
)
def test_another_kind_of_device_is_refused(changes: dict[str, object], told: str) -> None:
    """The books of one would not be the books of the other."""
    bench = Bench()
    state, _ = saved(bench.device, bench.now_ns)
    with pytest.raises(StateMismatch, match=told):
        restore_device(small_config(**changes), state, lambda _: None, now_ns=0, away_ns=0)


def test_what_is_no_part_of_its_kind_may_change() -> None:
    """Watermarks, modes, delays and limits are those of the new process."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(8))
    state, media = saved(bench.device, bench.now_ns)

    def read_media(memory: memoryview) -> None:
        memory[:] = media

    config = small_config(trim_delay_ns=7, max_pages_per_request=8, default_lease_ns=9, max_lease_ns=9)
    bench.device = restore_device(config, state, read_media, now_ns=bench.now_ns, away_ns=0)
    assert bench.read(ref, 0, 8) == random_pages(8)
    bench.device.audit()


def test_what_was_asked_back_is_still_asked_and_taken_no_sooner() -> None:
    """The time without a process does not count against the host, which could not give."""
    bench = Bench()
    ref = bench.attach()
    bench.write(ref, 0, random_pages(64))
    bench.device.capacity.release("alpha", 32 * 4096, bench.now_ns, force_after_ns=1_000)
    bench.now_ns += 400
    restart(bench, away_ns=10**9)
    bench.now_ns += 599
    assert bench.read(ref, 0, 64) == random_pages(64)
    bench.now_ns += 1
    region = bench.device.telemetry(ref, bench.now_ns).region
    assert region is not None
    assert region.logical_bytes == 32 * 4096
    bench.device.audit()

"""Settings, counters, snapshot, and an audit that finds what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cramagent.policy.effects import Tier
from cramagent.policy.folio import Folio
from cramagent.policy.host import Backend, HostCounters, PageKind
from cramagent.policy.settings import PolicySettings, SettingError
from cramagent.policy.states import State
from policy_helpers import NODE_PAGES, Rig

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"dram_pages": 15}, "at least 16 pages"),
        ({"budget_pages": -1}, "budget"),
        ({"open_pressure": 750}, "open < close"),
        ({"low_watermark_milli": 80}, "low < high"),
        ({"watermark_boost_milli": 900}, "high [+] boost"),
        ({"demote_batch_pages": 0}, "demotion batch"),
        ({"writeback_batch_pages": 0}, "writeback batch"),
        ({"reap_batch_pages": 0}, "reaper"),
        ({"trim_buffer_pages": 0}, "TRIM buffer"),
        ({"ranges_per_trim": 0}, "a TRIM holds"),
        ({"trim_interval_ns": -1}, "TRIM interval"),
        ({"writeback_pause_ns": -1}, "pause"),
        ({"writable_age_ns": 0}, "age of writable"),
        ({"balloon_step_bytes": 4095}, "step"),
        ({"balloon_deflate_milli": -1}, "hysteresis"),
        ({"balloon_min_pages": 0}, "sample"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], rule: str) -> None:
    """One clear line each."""
    settings: dict[str, Any] = {"dram_pages": 64, **wrong}
    with pytest.raises(SettingError, match=rule):
        PolicySettings(**settings)


@pytest.mark.parametrize(("dram", "bounce"), [(16, 1), (160, 10), (1024, 64), (1 << 20, 64)])
def test_bounce_frames(dram: int, bounce: int) -> None:
    """A sixteenth of DRAM, 64 at most."""
    assert PolicySettings(dram_pages=dram).bounce_pages == bounce


def test_every_counter_has_its_sentence() -> None:
    """One counter per reason, each told in one sentence, none twice."""
    sentences = HostCounters.sentences()
    assert set(sentences) == set(HostCounters.__slots__)
    assert all(text.endswith(".") for text in sentences.values())
    assert len(set(sentences.values())) == len(sentences)
    assert all(getattr(HostCounters(), name) == 0 for name in sentences)


def test_snapshot() -> None:
    """The gauges of a host with a page in every state."""
    rig = Rig(budget_pages=1)
    rig.fill(5)
    rig.host.poison_met([rig.host.peek(rig.a, 4).where])
    rig.put(rig.a, 0, 1)
    rig.get(rig.a, 1)
    rig.drive(rig.host.free(rig.a, 3, noticed=False))
    rig.put(rig.a, 10, 1)
    rig.host.node_unreachable()
    rig.put(rig.a, 11, 1)
    rig.evict((rig.a, 11))
    rig.host.node_reachable()
    gauges = rig.host.snapshot()
    assert gauges.pages == {
        State.DRAM: 1,
        State.ENTRY: 1,
        State.RO: 1,
        State.RW: 1,
        State.SWAPPED: 1,
        State.LOST: 1,
    }
    assert (gauges.spaces, gauges.entries, gauges.zombies) == (1, 5, 1)
    assert (gauges.writable, gauges.budget, gauges.writable_ceiling) == (1, 1, 1)
    assert (gauges.node_pages, gauges.node_used, gauges.trim_waiting) == (NODE_PAGES, 4, 1)
    assert gauges.node_free == NODE_PAGES - 5
    assert (gauges.dram_used, gauges.dram_frames) == (1, 30)
    assert gauges.swap_used == {Tier.ZSWAP: 1, Tier.SWAPFILE: 0}
    assert (gauges.attached, gauges.reachable, gauges.open, gauges.pressure) == (True, True, True, 0)


def _forget_a_mapper(rig: Rig) -> None:
    rig.host._mm.spaces[rig.a].ptes[0].folio.mappers = ()


def _wrong_state(rig: Rig) -> None:
    rig.host._mm.spaces[rig.a].ptes[0].state = State.DRAM


def _leak_a_frame(rig: Rig) -> None:
    rig.host._mm.frames.take()


def _leak_a_device_page(rig: Rig) -> None:
    rig.host._mm.nodes[0].inflate(1)
    rig.host._mm.nodes[0].ballooned.clear()


def _reuse_before_trim(rig: Rig) -> None:
    rig.host._mm.nodes[0].recycle([rig.host.peek(rig.a, 0).where])


def _leave_in_flight(rig: Rig) -> None:
    rig.host._mm.spaces[rig.a].ptes[0].folio.in_flight = True


def _two_entries(rig: Rig) -> None:
    rig.host._mm.vswap.add([Folio(Backend.NODE, 0, PageKind.ANON)])


def _over_budget(rig: Rig) -> None:
    rig.host._mm.nodes[0].writable.add(rig.host._mm.spaces[rig.a].ptes[0].folio, 0)


def _miscount(rig: Rig) -> None:
    rig.host._mm.tier_used[Tier.ZSWAP] += 1


@pytest.mark.parametrize(
    "damage",
    [
        _forget_a_mapper,
        _wrong_state,
        _leak_a_frame,
        _leak_a_device_page,
        _reuse_before_trim,
        _leave_in_flight,
        _two_entries,
        _over_budget,
        _miscount,
    ],
)
def test_the_audit_finds_damage(damage: Callable[[Rig], None]) -> None:
    """Each of these would go unnoticed by the tests, were `check` blind to it."""
    rig = Rig()
    rig.fill(2)
    rig.host.check()
    damage(rig)
    with pytest.raises(AssertionError):
        rig.host.check()


def test_background_runs_every_daemon() -> None:
    """One turn does what each of them would."""
    rig = Rig(dram_pages=16, budget_pages=1, trim_interval_ns=0)
    pages = rig.fill(3)
    rig.put(*pages[0], 1)
    rig.drive(rig.host.free(*pages[1], noticed=False))
    for vpn in range(100, 100 + rig.host.snapshot().dram_frames):
        rig.put(rig.a, vpn, vpn)
    rig.turn(ms=3_000)
    rig.turn()
    assert rig.counters.reprotects_aged == 1
    assert rig.counters.reaped == 1
    assert rig.counters.trimmed_pages == 1
    assert rig.counters.kswapd_wakes == 1
    assert rig.counters.demotions > 3

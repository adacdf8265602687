"""Levels with two thresholds, and the state in which the device takes no more writes."""

from __future__ import annotations

from cxldev.config import DeviceConfig, Watermarks
from cxldev.ledger import Ledger
from cxldev.telemetry import Counters, WatermarkLevel
from cxldev.watermarks import NoMoreWritesState, WatermarkGauge
from emulator_helpers import MIB, small_config

LEVELS = WatermarkLevel


def config(critical: int = 50) -> DeviceConfig:
    """1,000,000 bytes: watermarks are round numbers."""
    return DeviceConfig(
        physical_capacity_bytes=1_000_000, watermarks=Watermarks(500, 250, 125, critical, hysteresis_milli=25)
    )


def test_entered_at_the_mark_left_above_the_hysteresis() -> None:
    """The same reading gives another level on the way up."""
    gauge = WatermarkGauge(config())
    assert gauge.move(500_001) is None
    assert gauge.move(500_000) == (LEVELS.ABOVE_HIGH, LEVELS.HIGH)
    assert gauge.move(525_000) is None
    assert gauge.move(525_001) == (LEVELS.HIGH, LEVELS.ABOVE_HIGH)


def test_a_move_over_several_levels_is_one() -> None:
    """Down and up."""
    gauge = WatermarkGauge(config())
    assert gauge.move(0) == (LEVELS.ABOVE_HIGH, LEVELS.CRITICAL)
    assert gauge.move(140_000) == (LEVELS.CRITICAL, LEVELS.LOW)
    assert gauge.move(1_000_000) == (LEVELS.LOW, LEVELS.ABOVE_HIGH)


def test_between_two_marks_nothing_flaps() -> None:
    """A reading that goes to and fro inside the hysteresis is no news."""
    gauge = WatermarkGauge(config())
    gauge.move(250_000)
    assert [gauge.move(free) for free in (270_000, 251_000, 275_000, 250_000)] == [None] * 4


def test_no_more_writes_is_entered_once_an_episode() -> None:
    """Further refusals are no news."""
    ledger = Ledger(MIB, 64, 16, Counters())
    account = ledger.open_account(0, MIB)
    state = NoMoreWritesState(small_config())
    assert state.enter(account)
    assert not state.enter(account)
    assert state.left(ledger)
    assert state.enter(account)


def test_no_more_writes_is_left_above_critical_and_hysteresis() -> None:
    """75,000 bytes here: 50 and 25 per mille."""
    ledger = Ledger(1_000_000, 64, 16, Counters())
    account = ledger.open_account(0, 1_000_000)
    state = NoMoreWritesState(config())
    state.enter(account)
    ledger.reserve(925_000)
    assert not state.left(ledger)
    ledger.reserve(-1)
    assert state.left(ledger)


def test_without_a_critical_mark_room_for_a_page_is_enough() -> None:
    """One page that does not compress, and its metadata."""
    ledger = Ledger(1_000_000, 64, 16, Counters())
    account = ledger.open_account(0, 1_000_000)
    state = NoMoreWritesState(config(critical=0))
    state.enter(account)
    ledger.reserve(1_000_000 - 4111)
    assert not state.left(ledger)
    ledger.reserve(-1)
    assert state.left(ledger)


def test_a_region_that_starves_behind_guarantees_keeps_the_state() -> None:
    """Much is free, and none of it is for that region; when the region is gone, so is its trouble."""
    ledger = Ledger(1_000_000, 64, 16, Counters())
    starving, _ = ledger.open_account(0, 1_000_000), ledger.open_account(999_000, 1_000_000)
    state = NoMoreWritesState(config())
    state.enter(starving)
    assert not state.left(ledger)
    ledger.close_account(starving)
    assert state.left(ledger)

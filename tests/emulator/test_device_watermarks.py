"""Levels with two thresholds, and the state in which the device takes no more writes."""

from __future__ import annotations

import pytest

from cxldev.config import DeviceConfig, Watermarks
from cxldev.telemetry import WatermarkLevel
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


@pytest.mark.parametrize("marks", [Watermarks(high_milli=990), Watermarks(hysteresis_milli=1000)])
def test_an_empty_device_is_above_every_level(marks: Watermarks) -> None:
    """Also if the mark and the hysteresis together are more than there is."""
    gauge = WatermarkGauge(DeviceConfig(physical_capacity_bytes=1_000_000, watermarks=marks))
    gauge.move(0)
    gauge.move(999_999)
    moved = gauge.move(1_000_000)
    assert moved is not None
    assert moved[1] is LEVELS.ABOVE_HIGH


def test_no_more_writes_is_entered_once_an_episode() -> None:
    """Further refusals are no news."""
    state = NoMoreWritesState(small_config())
    assert state.enter()
    assert not state.enter()
    assert state.left(MIB)
    assert state.enter()


def test_no_more_writes_is_left_above_critical_and_hysteresis() -> None:
    """75,000 bytes here: 50 and 25 per mille."""
    state = NoMoreWritesState(config())
    state.enter()
    assert not state.left(75_000)
    assert state.left(75_001)


def test_without_a_critical_mark_room_for_a_page_is_enough() -> None:
    """One page that does not compress, and its metadata."""
    state = NoMoreWritesState(config(critical=0))
    state.enter()
    assert not state.left(4111)
    assert state.left(4112)

"""When a device is full, by what was read of it."""

from __future__ import annotations

import math

import pytest

from cramctl.forecast import Forecast, forecast, slope

PHYSICAL = 1_000_000.0


def falling(seconds: int, a_second: float, *, since: float = 0.0) -> list[tuple[float, float]]:
    """A reading a second, of media that is taken at this rate from `since` on."""
    return [(float(now), PHYSICAL / 2 - a_second * max(0.0, now - since)) for now in range(seconds + 1)]


def test_a_steady_fall_ends_when_it_says() -> None:
    """1,000 bytes a second: after 400 s of them 100,000 are left, for 100 s."""
    told = forecast(falling(400, 1000), PHYSICAL)
    assert told is not None
    assert told.left_s == pytest.approx(100)
    assert told.by == "by the last five minutes"


def test_a_short_life_is_judged_by_its_last_minute() -> None:
    """And by nothing before a third of that is known."""
    assert forecast(falling(19, 1000), PHYSICAL) is None
    told = forecast(falling(21, 1000), PHYSICAL)
    assert told is not None
    assert told.by == "by the last minute"
    assert told.left_s == pytest.approx((PHYSICAL / 2 - 21_000) / 1000)


@pytest.mark.parametrize("a_second", [0.0, -1000.0, 1.0])
def test_what_does_not_fill_is_no_forecast(a_second: float) -> None:
    """At rest, giving back, or so slow that it takes four days."""
    assert forecast(falling(400, a_second), PHYSICAL) == Forecast(math.inf, "by the last five minutes")


def test_what_rises_again_is_no_forecast() -> None:
    """The five minutes still fall, the last one does not."""
    points = falling(300, 1000)
    points += [(300.0 + later, points[-1][1] + later * 500) for later in range(1, 70)]
    assert slope(points, 300) is not None
    assert forecast(points, PHYSICAL) == Forecast(math.inf, "by the last five minutes")


def test_an_empty_device_does_not_fill() -> None:
    """Whatever was on it a moment ago."""
    points = [*falling(60, 1000), (60.5, PHYSICAL)]
    told = forecast(points, PHYSICAL)
    assert told is not None
    assert told.left_s == math.inf


def test_nothing_is_known_of_nothing() -> None:
    """Nor of one reading."""
    assert forecast([], PHYSICAL) is None
    assert forecast([(0.0, 1.0)], PHYSICAL) is None

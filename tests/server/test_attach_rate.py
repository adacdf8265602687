"""How often hosts may attach, by a clock that only the test moves."""

from __future__ import annotations

import pytest

from cxldevd.attach_rate import AttachRate
from cxldevd.errors import DeviceBusy
from server_helpers import SECOND, bench_of, refused


def test_a_host_has_its_rate_and_others_have_theirs() -> None:
    """As many at once as a second allows; then one whenever its time has come. Time is told."""
    rate = AttachRate(of_one=2, of_all=100, now_ns=0)
    rate.admit("a", 0)
    rate.admit("a", 0)
    with pytest.raises(DeviceBusy, match="attaches of this host within a second; try again in 500 ms"):
        rate.admit("a", 0)
    rate.admit("b", 0)
    rate.admit("a", SECOND // 2)
    with pytest.raises(DeviceBusy):
        rate.admit("a", SECOND // 2)


def test_names_that_are_made_up_share_the_rate_of_all() -> None:
    """And do not fill the memory."""
    rate = AttachRate(of_one=5, of_all=10_000, now_ns=0)
    for number in range(10_000):
        rate.admit(f"host-{number}", 0)
    with pytest.raises(DeviceBusy, match="of all hosts"):
        rate.admit("one more", 0)
    assert len(rate._hosts) <= 4096


def test_a_refused_attach_costs_nothing() -> None:
    """Neither this host nor the others."""
    rate = AttachRate(of_one=1, of_all=2, now_ns=0)
    rate.admit("a", 0)
    for _ in range(10):
        with pytest.raises(DeviceBusy):
            rate.admit("a", 0)
    rate.admit("b", 0)


def test_over_the_wire() -> None:
    """DEVICE_BUSY; a second later it is welcome again."""
    with bench_of(settings={"attach_rate_host": 2}) as bench:
        bench.attach()
        bench.attach(take_over=True)
        refusal = refused(lambda: bench.attach(take_over=True))
        assert refusal.reason == "DEVICE_BUSY"
        bench.clock.advance(SECOND)
        bench.attach(take_over=True)

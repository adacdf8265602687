"""The demo's conditions: when a phase is reached, and what is said when it is not."""

from __future__ import annotations

from cramlab.demo.needs import Need, Phase, PhaseNotReached, of_all, of_device, of_each
from lab_helpers import device_reading, host_reading, reading


def test_each_host_must_meet_it() -> None:
    """One that lags behind is enough to wait for."""
    need = Need("demotions, each host", of_each("demotions"), at_least=100)
    behind = reading(a=host_reading(demotions=500), b=host_reading(demotions=99))
    look = need.look(behind, behind)
    assert not look.met
    assert look.text == "demotions, each host: at least 100 (now a 500, b 99)"
    level = reading(a=host_reading(demotions=500), b=host_reading(demotions=100))
    assert need.look(level, level).met


def test_all_hosts_may_meet_it_together() -> None:
    """Only the sum counts."""
    need = Need("promotions, all hosts", of_all("promotions"), at_least=100)
    now = reading(a=host_reading(promotions=100), b=host_reading())
    assert need.look(now, now).met


def test_what_came_before_the_phase_does_not_count() -> None:
    """A counter is judged by its growth where the need says so."""
    need = Need("mkwrites", of_each("mkwrites"), at_least=10, since_phase=True)
    begun = reading(a=host_reading(mkwrites=1000))
    assert not need.look(reading(a=host_reading(mkwrites=1009)), begun).met
    assert need.look(reading(a=host_reading(mkwrites=1010)), begun).met


def test_an_upper_bound() -> None:
    """Closed nodes and drained media are 0s."""
    need = Need("media used", of_device("used_bytes"), at_most=0)
    assert not need.look(reading(), reading()).met
    assert need.look(reading(device_reading(used_bytes=0)), reading()).met


def test_nobody_meets_nothing() -> None:
    """A need about hosts is not met because there are none."""
    look = Need("demotions", of_each("demotions"), at_most=0).look(reading(), reading())
    assert not look.met
    assert "now nobody" in look.text


def test_the_failure_names_what_is_missing_and_only_that() -> None:
    """The phase, the deadline, the condition, the last values."""
    phase = Phase(
        "fill",
        "",
        40,
        (
            Need("scans", of_each("scans"), at_least=1),
            Need("pages on the device", of_device("stored_pages"), at_least=20_000),
        ),
    )
    now = reading(a=host_reading(scans=1))
    assert str(PhaseNotReached(phase, phase.looks(now, now))) == (
        "phase 'fill' was not reached within 40 s: pages on the device: at least 20,000 (now device 18,000)"
    )

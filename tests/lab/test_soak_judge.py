"""What makes a soak fail: growth that goes on, wrong bytes, media that is held, losses of the wrong host."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cramlab.scrape import Samples
from cramlab.soak.growth import COUNT_SLACK, WARM_S, Growth, Seen, growth_of
from cramlab.soak.host import SoakHost, counted_in
from cramlab.soak.judge import as_json, judge
from cramlab.soak.plan import draw_plan
from cramlab.soak.run import Outcome
from cramlab.soak.view import told_growth
from cramlab.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20


def looks(
    memory: Callable[[int], float], *, threads: int = 20, files: int = 10, seconds: int = 300
) -> list[Seen]:
    """One a second; `memory` in MiB, by the second."""
    return [Seen(float(at), Usage(int(memory(at) * MIB), threads, files)) for at in range(100, 100 + seconds)]


def test_a_life_without_a_report_counts_as_one_with_it() -> None:
    """A report's demotions are those that the device took; the metric has the refused ones, too."""
    text = 'cram_demotions_total{outcome="ok"} 300\ncram_demotions_total{outcome="closed"} 7\n'
    samples = Samples(text_string_to_metric_families(f"# TYPE cram_demotions_total counter\n{text}"))
    assert counted_in(samples) == {"demotions": 300}


def growth(seen: list[Seen]) -> Growth:
    """Of enough looks."""
    found = growth_of("device", seen)
    assert found is not None
    return found


def test_a_flat_process_with_peaks_is_flat() -> None:
    """Single peaks, and a level that malloc keeps after a step, are no growth to speak of."""
    flat = growth(looks(lambda at: 80 + (40 if at % 17 == 0 else 0) + (at % 3)))
    assert flat.problems() == []
    assert abs(flat.memory_growth_bytes) < MIB


def test_a_leak_is_told_with_its_figures() -> None:
    """3 MiB a minute over four minutes is 12, and more than the bound: 6 and 1 a minute."""
    leak = growth(looks(lambda at: 80 + (at - 100) / 20))
    assert leak.memory_growth_bytes == pytest.approx(11.95 * MIB, rel=0.01)
    (told,) = leak.problems()
    assert told.startswith("the memory of device grew by ")
    assert "in 239 s" in told


def test_threads_and_files_that_grow() -> None:
    """Each by more than a few."""
    seen = [Seen(float(at), Usage(80 * MIB, 20 + at // 20, 10 + at // 10)) for at in range(round(WARM_S * 2))]
    found = growth(seen)
    assert found.files_growth > found.threads_growth > COUNT_SLACK - 1
    assert [problem.split(" of ")[0] for problem in found.problems()][-1] == "the open files"


def test_a_process_that_warms_up_in_its_first_minute_is_flat() -> None:
    """What it takes by then it has for good; what comes later counts."""
    warm = growth(looks(lambda at: 60 + 0.5 * min(at - 100, 60)))
    assert warm.window_s == 239
    assert warm.memory_growth_bytes == 0
    late = growth(looks(lambda at: 60 + 0.5 * max(at - 160, 0)))
    assert len(late.problems()) == 1


def test_a_short_window_has_wider_bounds() -> None:
    """A process that warms up grows; one that grows without end is found all the same."""
    assert growth(looks(lambda at: 80 + (at - 100), seconds=20)).problems() == []
    (told,) = growth(looks(lambda at: 80 + 3 * (at - 100), seconds=20)).problems()
    assert "at most 24.3 MiB is flat" in told


def test_too_few_looks_say_nothing() -> None:
    """Three points are no line."""
    assert growth_of("device", looks(lambda at: at, seconds=3)) is None


GOOD: dict[str, Any] = {
    "exit_code": 0,
    "exit_reason": "sigterm",
    "error": None,
    "pages_mismatched": 0,
    "pages_unread": 0,
    "pages_verified_at_end": 800,
    "detached": True,
}


def outcome(tmp_path: Path) -> Outcome:
    """A soak in which all was right."""
    plan = draw_plan(60, 2, 7)
    made = Outcome(plan, 7, media_used_bytes=0, identity_checks=1000)
    for number, name in enumerate(plan.hosts, 1):
        made.hosts[name] = SoakHost(tmp_path / name, number, name, "127.0.0.1:1", 7)
        made.hosts[name].counted = Counter(pages_verified=5000)
        made.reports[name] = dict(GOOD)
    return made


def test_a_good_one(tmp_path: Path) -> None:
    """Nothing is wrong, and the sums are there."""
    good = outcome(tmp_path)
    good.hosts["host-1"].lost_to.update({"poison": 3, "reset": 100})
    good.spoiled = {"host-1"}
    assert judge(good) == []
    told = as_json(good)
    assert told["passed"]
    assert told["pages_verified"] == 10_000
    assert told["pages_lost_by_reported_cause"] == {"poison": 3, "reset": 100}


def _wrong_byte(spoilt: Outcome) -> None:
    spoilt.hosts["host-2"].counted["pages_mismatched"] = 1


def _held_media(spoilt: Outcome) -> None:
    spoilt.media_used_bytes = 4096


def _foreign_poison(spoilt: Outcome) -> None:
    spoilt.spoiled = {"host-1"}
    spoilt.hosts["host-2"].lost_to["poison"] = 1


def _no_report(spoilt: Outcome) -> None:
    del spoilt.reports["host-2"]


def _unread(spoilt: Outcome) -> None:
    spoilt.reports["host-2"].update(exit_code=1, pages_unread=9)


def _attached(spoilt: Outcome) -> None:
    spoilt.reports["host-2"]["detached"] = False


def _nothing_verified(spoilt: Outcome) -> None:
    spoilt.reports["host-2"]["pages_verified_at_end"] = 0


def _never_asserted(spoilt: Outcome) -> None:
    spoilt.identity_checks = 0


def _leak(spoilt: Outcome) -> None:
    spoilt.growth.append(growth(looks(lambda at: at)))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_wrong_byte, "host-2 read 1 wrong pages"),
        (_held_media, "4.0 KiB of media are held when nobody is attached any more"),
        (_foreign_poison, "host-2 lost 1 pages to poison that was meant for others"),
        (_no_report, "host-2 left no report of the final verification"),
        (_unread, "host-2 ended its verification with 1: 0 pages wrong, 9 unread; sigterm"),
        (_attached, "host-2 did not give its region back"),
        (_nothing_verified, "host-2 had nothing to verify in the end"),
        (_never_asserted, "the device never asserted used + free = physical"),
        (_leak, "the memory of device grew by"),
    ],
)
def test_each_thing_that_can_be_wrong(spoil: Callable[[Outcome], None], told: str, tmp_path: Path) -> None:
    """Is one line, and the only one."""
    spoilt = outcome(tmp_path)
    spoil(spoilt)
    (problem,) = judge(spoilt)
    assert problem.startswith(told)


def test_steps_of_the_plan_have_one_time_each() -> None:
    """No two steps fall together, or the order would be chance."""
    times = [step.at_s for step in draw_plan(600, 8, 3).steps]
    assert all(earlier < later for earlier, later in pairwise(times))


def test_growth_is_told_with_its_bound() -> None:
    """In all, a minute, and how much of it is flat."""
    growth = Growth("device", 300.0, 90 << 20, 5 * 2**20, 40, 2.0, 20, -1.0)
    assert told_growth(growth).splitlines() == [
        "memory 90.0 MiB: +5.0 MiB, +1.00 a minute (at most +11.0)",
        "40 threads: +2.0, 20 files: -1.0 (at most +4 each)",
    ]
    assert "it still warms up" in told_growth(replace(growth, window_s=60.0))

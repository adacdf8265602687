"""The demo's verdict: whatever was wrong is found, and nothing is made up."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from cramlab.demo.scenario import Outcome
from cramlab.demo.summary import judge, summarise, table
from lab_helpers import GOOD_REPORT, device_reading, reading

KEYS_OF_THE_ISSUE = {
    "agents",
    "pages_verified",
    "pages_mismatched",
    "pages_lost",
    "demotions",
    "read_faults",
    "mkwrites",
    "promotions",
    "writebacks",
    "reaped",
    "trimmed_pages",
    "no_more_writes",
    "ratio_milli",
    "peak_media_used_bytes",
    "final_media_used_bytes",
    "capacity_identity_checks",
}


def outcome(**changes: Any) -> Outcome:
    """Two agents to which all went well; `changes` go into the first one's report."""
    return Outcome(
        steady=reading(),
        reports={"a": GOOD_REPORT | changes, "b": GOOD_REPORT},
        exit_codes={"a": 0, "b": 0},
        final=device_reading(used_bytes=0, no_more_writes=1),
    )


def test_all_went_well() -> None:
    """No problem; the figures are the sums of what was reported."""
    assert judge(outcome(), 2) == []
    summary = summarise(outcome(), 2, [])
    assert summary.keys() >= KEYS_OF_THE_ISSUE
    assert summary["ok"]
    assert summary["pages_verified"] == 2000
    assert summary["ratio_milli"] == 3000
    assert summary["final_media_used_bytes"] == 0
    assert summary["capacity_identity_checks"] == 500


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pages_mismatched": 1}, "a: pages_mismatched is 1"),
        ({"pages_lost": 2}, "a: pages_lost is 2"),
        ({"pages_unread": 3}, "a: pages_unread is 3"),
        ({"pages_left_out": 4}, "a: pages_left_out is 4"),
        ({"killed_spaces": 5}, "a: killed_spaces is 5"),
        ({"pages_verified_at_end": 0}, "a verified nothing"),
        ({"detached": False}, "a did not detach"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_an_agent_reports_is_judged(changes: dict[str, Any], said: str) -> None:
    """Each of these alone fails the demo."""
    assert judge(outcome(**changes), 2) == [said]


def test_an_agent_that_failed_or_did_not_report() -> None:
    """Its exit code counts, and so does its silence."""
    failed = outcome()
    failed.exit_codes["b"] = 1
    assert judge(failed, 2) == ["the agent of b ended with 1"]
    assert judge(outcome(), 3) == ["3 agents were started, 2 reported"]


def test_the_device_is_judged_too() -> None:
    """Leaked media, an exhaustion that never came, an identity that nobody checked."""
    bad = outcome()
    bad.final = device_reading(used_bytes=64, identity_checks=0)
    assert judge(bad, 2) == [
        "64 bytes of media leaked",
        "the device never came to no more writes",
        "the capacity identity was never checked",
    ]
    bad.final = None
    assert judge(bad, 2) == ["the device was not looked at when all was over"]


def test_what_nobody_reported_is_null() -> None:
    """A sum over some of the agents would look like a figure."""
    cut_short = Outcome(reports={"a": GOOD_REPORT})
    summary = summarise(cut_short, 2, ["it broke"])
    assert not summary["ok"]
    assert summary["problems"] == ["it broke"]
    assert summary["pages_verified"] is None
    assert summary["ratio_milli"] is None
    assert summary["final_media_used_bytes"] is None


def test_the_table_shows_sums_and_hosts() -> None:
    """A line of it, as it is read."""
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(table(summarise(outcome(pages_verified=5000), 2, [])))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["pages", "compared,", "all", "bytes", "6,000", "5,000", "1,000"] in lines

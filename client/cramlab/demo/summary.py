"""What the demo came to: the figures, all counted by the processes themselves, and the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from cramwire.units import format_bytes

if TYPE_CHECKING:
    from cramlab.demo.scenario import Outcome

SUMMED: Final[dict[str, str]] = {
    "pages_verified": "pages compared, all bytes",
    "pages_mismatched": "... that differed",
    "pages_lost": "pages lost",
    "demotions": "demotions: DRAM to device",
    "read_faults": "read faults: mapped read-only",
    "mkwrites": "mkwrites: mapped writable",
    "promotions": "promotions: device to DRAM",
    "writebacks": "writebacks: device to swap",
    "reaped": "zombies reaped",
    "trimmed_pages": "pages trimmed",
    "no_more_writes": "writes refused: no more writes",
}
"""Keys of every agent's report that are summed over all agents, and what they are called."""

_MUST_BE_0: Final = ("pages_mismatched", "pages_lost", "pages_unread", "killed_spaces", "pages_left_out")


def summarise(outcome: Outcome, agents: int, problems: list[str]) -> dict[str, Any]:
    """The JSON: sums of the agents' reports, and what the device counted. null: nobody reported it."""
    reports, final, steady = outcome.reports, outcome.final, outcome.steady
    complete = len(reports) == agents
    sums = {key: sum(report[key] for report in reports.values()) if complete else None for key in SUMMED}
    return {
        "ok": not problems,
        "problems": problems,
        "agents": agents,
        **sums,
        "ratio_milli": steady.device.ratio_milli if steady else None,
        "peak_media_used_bytes": final.peak_used_bytes if final else None,
        "final_media_used_bytes": final.used_bytes if final else None,
        "capacity_identity_checks": final.identity_checks if final else None,
        "device_no_more_writes": final.no_more_writes if final else None,
        "seconds": round(outcome.seconds, 1),
        "phases": {key: round(seconds, 1) for key, seconds in outcome.phases.items()},
        "hosts": {host: {key: report[key] for key in SUMMED} for host, report in reports.items()},
    }


def judge(outcome: Outcome, agents: int) -> list[str]:
    """What was wrong though every phase was reached; one line each. Empty: nothing."""
    problems: list[str] = []
    if len(outcome.reports) != agents:
        problems.append(f"{agents} agents were started, {len(outcome.reports)} reported")
    for host, report in outcome.reports.items():
        problems += [f"{host}: {key} is {report[key]}" for key in _MUST_BE_0 if report[key]]
        if not report["pages_verified_at_end"]:
            problems.append(f"{host} verified nothing")
        if not report["detached"]:
            problems.append(f"{host} did not detach")
    problems += [
        f"the agent of {host} ended with {code}" for host, code in outcome.exit_codes.items() if code != 0
    ]
    final = outcome.final
    if final is None:
        problems.append("the device was not looked at when all was over")
    else:
        if final.used_bytes:
            problems.append(f"{final.used_bytes} bytes of media leaked")
        if not final.no_more_writes:
            problems.append("the device never came to no more writes")
        if not final.identity_checks:
            problems.append("the capacity identity was never checked")
    return problems


def table(summary: dict[str, Any]) -> Table:
    """The figures for people: one column for all hosts, one for each."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column("", no_wrap=True)
    made.add_column("all", justify="right", style="bold")
    for host in summary["hosts"]:
        made.add_column(host, justify="right")
    for key, name in SUMMED.items():
        made.add_row(
            name, _count(summary[key]), *(_count(report[key]) for report in summary["hosts"].values())
        )
    ratio = summary["ratio_milli"]
    made.add_row("ratio in steady state", "-" if ratio is None else f"{ratio / 1000:.2f}:1")
    made.add_row("device went into no more writes", _count(summary["device_no_more_writes"]))
    made.add_row("media used at most, with faults", _bytes(summary["peak_media_used_bytes"]))
    made.add_row("media used when all had left", _bytes(summary["final_media_used_bytes"]))
    made.add_row("capacity identity checked", _count(summary["capacity_identity_checks"]))
    return made


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _bytes(value: int | None) -> str:
    return "-" if value is None else format_bytes(value)

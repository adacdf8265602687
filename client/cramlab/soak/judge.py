"""What must hold after a soak, and the result as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramlab.soak.host import SoakHost
    from cramlab.soak.run import Outcome


def judge(outcome: Outcome) -> list[str]:
    """What is wrong, each in one line; nothing of what was found wrong on the way."""
    return [
        *(problem for host in outcome.hosts.values() for problem in _of_host(outcome, host)),
        *_of_media(outcome),
        *(problem for growth in outcome.growth for problem in growth.problems()),
    ]


def _of_host(outcome: Outcome, host: SoakHost) -> Iterator[str]:
    if wrong := host.counted["pages_mismatched"]:
        yield f"{host.name} read {wrong} wrong pages"
    if host.lost_to["poison"] and host.name not in outcome.spoiled:
        yield f"{host.name} lost {host.lost_to['poison']} pages to poison that was meant for others"
    report = outcome.reports.get(host.name)
    if report is None:
        yield f"{host.name} left no report of the final verification"
    elif report["exit_code"] != 0:
        found = f"{report['pages_mismatched']} pages wrong, {report['pages_unread']} unread"
        why = f"{report['exit_reason']} {report['error'] or ''}".rstrip()
        yield f"{host.name} ended its verification with {report['exit_code']}: {found}; {why}"
    elif not report["pages_verified_at_end"]:
        yield f"{host.name} had nothing to verify in the end"
    elif not report["detached"]:
        yield f"{host.name} did not give its region back"


def _of_media(outcome: Outcome) -> Iterator[str]:
    if outcome.media_used_bytes:
        yield f"{format_bytes(outcome.media_used_bytes)} of media are held when nobody is attached any more"
    if not outcome.identity_checks:
        yield "the device never asserted used + free = physical"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The result: what was asked for, what was done, what was found."""
    hosts = outcome.hosts.values()
    lost: dict[str, int] = {}
    for host in hosts:
        for cause, pages in host.lost_to.items():
            lost[cause] = lost.get(cause, 0) + pages
    return {
        "passed": not outcome.problems,
        "problems": outcome.problems,
        "seed": outcome.seed,
        "seconds": outcome.plan.seconds,
        "hosts": len(outcome.plan.hosts),
        "wall_seconds": outcome.seconds,
        "pages_verified": sum(host.counted["pages_verified"] for host in hosts),
        "pages_verified_at_end": sum(r["pages_verified_at_end"] for r in outcome.reports.values()),
        "pages_mismatched": sum(host.counted["pages_mismatched"] for host in hosts),
        "pages_lost": sum(host.counted["pages_lost"] for host in hosts),
        "pages_lost_by_reported_cause": lost,
        "demotions": sum(host.counted["demotions"] for host in hosts),
        "reattaches": sum(host.counted["reattaches"] for host in hosts),
        "lives": sum(host.lives for host in hosts),
        "failed_starts": sum(host.failed_starts for host in hosts),
        "device_restarts": {"same_generation": outcome.kept, "new_generation": outcome.renewed},
        "media_used_at_end_size": outcome.media_used_bytes,
        "identity_checks_since_last_start": outcome.identity_checks,
        "done": dict(sorted(outcome.done.items())),
        "skipped": dict(sorted(outcome.skipped.items())),
        "growth": [growth.as_json() for growth in outcome.growth],
    }

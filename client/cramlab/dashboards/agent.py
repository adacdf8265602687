"""One host: where its pages are, what its faults cost, budget, zombies, writeback, balloon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.dashboards import words
from cramlab.dashboards.frame import AGENT, RATE, begin, fill, with_annotations, with_host
from cramlab.dashboards.panels import (
    A_SECOND,
    BYTES,
    COUNT,
    SECONDS,
    SHARE,
    Panel,
    Query,
    lines,
    stat,
    states,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard

    from cramlab.dashboards.alerts import Alerts

UID = "cramulator-agent"


def build(alerts: Alerts) -> dashboard.Dashboard:
    """The dashboard."""
    frame = begin(UID, "cramulator: agent", "One host: pages, faults, budget, zombies, writeback, balloon.")
    return fill(
        with_annotations(with_host(frame)),
        [
            ("", _top(alerts)),
            ("Pages", _pages()),
            ("Faults", _faults()),
            ("Writable budget", _budget(alerts)),
            ("Demotion, writeback, balloon", _reclaim()),
            ("Zombies and TRIM", _frees(alerts)),
            ("Node and events", _node(alerts)),
            ("Losses", _losses(alerts)),
        ],
    )


def _one(metric: str) -> str:
    return f"{metric}{{{AGENT}}}"


def _rates(metric: str, *labels: str) -> Query:
    """A counter's pages or calls a second, by these labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(f"sum by ({', '.join(labels)}) (rate({_one(metric)}[{RATE}]))", legend)


def _rate(metric: str, legend: str) -> Query:
    return Query(f"rate({_one(metric)}[{RATE}])", legend)


def _top(alerts: Alerts) -> list[Panel]:
    budget = alerts.mark("CramBudgetExhausted", "instance:cram_writable:budget_ratio")
    return [
        stat(
            "Device",
            "Offline: accesses to device pages stall; DRAM and swap go on. Look at the device and the "
            "network.",
            COUNT,
            Query(_one("cram_node_online")),
            words=words.online(alerts),
        ),
        stat(
            "Node",
            "Closed: pressure is high; what is cold goes to swap, and the coldest device pages are written "
            "back.",
            COUNT,
            Query(_one("cram_node_open")),
            words=words.OPEN,
        ),
        stat(
            "Fault p99",
            "Wall time that programs wait for a page.",
            SECONDS,
            Query(_one("instance:cram_fault_seconds:p99_5m")),
        ),
        stat(
            "Budget used",
            "At 100 % every further writer costs a promotion: raise --budget, or age mappings sooner.",
            SHARE,
            Query(_one("instance:cram_writable:budget_ratio")),
            marks=[budget],
            empty="no budget",
        ),
        stat(
            "Oldest zombie",
            "How long a page without users has kept media. Growing: the reaper does not run.",
            SECONDS,
            Query(_one("cram_zombie_oldest_age_seconds")),
            marks=[alerts.mark("CramZombiesNotReaped", "cram_zombie_oldest_age_seconds")],
        ),
        stat(
            "Event lag p99",
            "From an event at the device until the daemons acted. Writes go on in the meantime.",
            SECONDS,
            Query(_one("instance:cram_event_lag_seconds:p99_5m")),
            marks=[alerts.mark("CramEventLag", "instance:cram_event_lag_seconds:p99_5m")],
        ),
        stat(
            "Pages lost",
            "In the time shown. Whoever touches one gets a bus error. 'Losses', below, says why.",
            COUNT,
            Query(f"sum(increase({_one('cram_pages_lost_total')}[$__range]))"),
            marks=[alerts.mark("CramPagesLost", "cram_pages_lost_total")],
        ),
        stat(
            "Wrong bytes",
            "Pages that did not read back as written, since the agent started. Anything but 0 is a bug: "
            "report it.",
            COUNT,
            Query(f"sum({_one('cram_mismatched_pages_total')})"),
        ),
    ]


def _pages() -> list[Panel]:
    return [
        lines(
            "Pages by state",
            "Mapped pages: DRAM; ENTRY, RO and RW on the device; SWAPPED behind it; LOST. Device states "
            "that shrink while SWAPPED grows: the node is closed and writes back.",
            COUNT,
            Query(f"sum by (state) ({_one('cram_pages')})", "{{state}}"),
            stacked=True,
        ),
        lines(
            "Where bytes are",
            "DRAM and its limit, the node (uncompressed), and each tier behind it.",
            BYTES,
            Query(_one("cram_dram_used_bytes"), "DRAM"),
            Query(_one("cram_dram_limit_bytes"), "DRAM limit"),
            Query(f"sum({_one('cram_node_used_bytes')})", "node"),
            Query(f"sum by (tier) ({_one('cram_swap_used_bytes')})", "{{tier}}"),
        ),
        lines(
            "Accesses",
            "By the workload; and those of them that the CPU made on the device, through a mapping, without "
            "a fault.",
            A_SECOND,
            _rates("cram_accesses_total", "kind"),
            Query(
                f"sum by (kind) (rate({_one('cram_node_accesses_total')}[{RATE}]))", "{{kind}} on the device"
            ),
        ),
        lines(
            "Tiers behind the node",
            "How full each is. At 100 % nothing can be written back: add swap, or zswap.",
            SHARE,
            Query(
                f"sum by (tier) ({_one('cram_swap_used_bytes')}) / "
                f"clamp_min(sum by (tier) ({_one('cram_swap_limit_bytes')}), 1)",
                "{{tier}}",
            ),
        ),
    ]


def _faults() -> list[Panel]:
    times = f"sum by (le) (rate({_one('cram_fault_seconds_bucket')}[{RATE}]))"
    return [
        lines(
            "Faults, by kind and outcome",
            "Promoted writes are the price of the budget; swapped-in reads the price of a closed node.",
            A_SECOND,
            Query(
                f"sum by (kind, outcome) (rate({_one('cram_faults_total')}[{RATE}])) > 0",
                "{{kind}}: {{outcome}}",
            ),
        ),
        lines(
            "Fault time",
            "Wall time until answered; the faults of one batch are answered together.",
            SECONDS,
            Query(f"histogram_quantile(0.5, {times})", "p50"),
            Query(f"histogram_quantile(0.99, {times})", "p99"),
        ),
        lines(
            "Promotions and swap-ins",
            "Pages brought back to DRAM: from the device (moved or copied), and from the tiers behind it.",
            A_SECOND,
            _rates("cram_promotions_total", "outcome"),
            _rate("cram_swap_ins_total", "swapped in"),
        ),
        lines(
            "Read-ahead that was of use",
            "Share of the pages brought along that were used. Low: turn --fault-around or --read-ahead down.",
            SHARE,
            Query(
                f"sum by (kind) (rate({_one('cram_read_ahead_hits_total')}[{RATE}])) / "
                f"clamp_min(sum by (kind) (rate({_one('cram_read_ahead_total')}[{RATE}])), 0.001)",
                "{{kind}}",
            ),
        ),
    ]


def _budget(alerts: Alerts) -> list[Panel]:
    budget = alerts.mark("CramBudgetExhausted", "instance:cram_writable:budget_ratio")
    return [
        lines(
            "Pages mapped writable",
            "Each may grow to 4096 bytes of media without asking: that is the risk. The ceiling is what "
            "pressure leaves of the budget.",
            COUNT,
            Query(_one("cram_writable_pages"), "writable"),
            Query(_one("cram_writable_budget_pages"), "budget"),
            Query(_one("cram_writable_ceiling_pages"), "ceiling"),
        ),
        lines(
            "Budget used",
            "Share of the budget. Absent without one.",
            SHARE,
            Query(_one("instance:cram_writable:budget_ratio"), "used"),
            marks=[budget],
        ),
        lines(
            "Made writable, or not",
            "Denied by: budget (raise it), credits (the device promises no more), mappers (shared pages), "
            "closed.",
            A_SECOND,
            _rate("cram_mkwrites_total", "made writable"),
            Query(
                f"sum by (reason) (rate({_one('cram_mkwrite_denied_total')}[{RATE}]))", "denied: {{reason}}"
            ),
        ),
        lines(
            "Re-protected, by reason",
            "Writable mappings made R/O again: aged, under pressure, shared, forked.",
            A_SECOND,
            _rates("cram_reprotects_total", "reason"),
        ),
    ]


def _reclaim() -> list[Panel]:
    return [
        lines(
            "Demotions, by outcome",
            "ok went to the device. closed, admission, full: the node did not take them. no_more_writes, "
            "region_limit: the device did not. Those go to swap.",
            A_SECOND,
            _rates("cram_demotions_total", "outcome"),
        ),
        lines(
            "Writeback",
            "Device pages moved on, by who asked. No room: they stay, and the device does not recover; add "
            "swap.",
            A_SECOND,
            _rates("cram_writebacks_total", "reason"),
            _rate("cram_writeback_no_room_total", "no room"),
        ),
        lines(
            "Balloon",
            "What it holds and should hold. Growing: the ratio is worse than advertised, and the node "
            "shrinks before the device is full.",
            BYTES,
            Query(f"sum({_one('cram_balloon_bytes')})", "balloon"),
            Query(f"sum({_one('cram_balloon_target_bytes')})", "target"),
            Query(f"sum({_one('cram_node_bytes')})", "node"),
        ),
        lines(
            "DRAM straight to swap, and reclaim by faults",
            "Pages that never saw the device; faults that had to reclaim by themselves (kswapd was too "
            "slow); cold pages kept because no tier had room.",
            A_SECOND,
            Query(f"sum by (tier) (rate({_one('cram_swap_outs_total')}[{RATE}]))", "to {{tier}}"),
            _rate("cram_direct_reclaims_total", "direct reclaims"),
            _rate("cram_reclaim_kept_total", "kept"),
        ),
    ]


def _frees(alerts: Alerts) -> list[Panel]:
    zombies = alerts.mark("CramZombiesNotReaped", "cram_zombie_oldest_age_seconds")
    return [
        lines(
            "Zombies",
            "vswap entries without users: each keeps media that nobody needs.",
            COUNT,
            Query(f"sum({_one('cram_zombies')})", "zombies"),
            Query(_one("cram_entries"), "entries"),
        ),
        lines(
            "Made and reaped",
            "Made faster than reaped for long: a larger --reap-batch.",
            A_SECOND,
            _rate("cram_zombies_made_total", "made"),
            _rate("cram_reaped_total", "reaped"),
        ),
        lines(
            "Age of the oldest zombie",
            "The reaper's delay.",
            SECONDS,
            Query(_one("cram_zombie_oldest_age_seconds"), "oldest"),
            marks=[zombies],
        ),
        lines(
            "TRIM",
            "Pages that wait, and pages given back a second. Waiting with nothing given back: the device "
            "does not answer TRIM, and its media is not free.",
            COUNT,
            Query(_one("cram_trim_waiting_pages"), "waiting"),
            _rate("cram_trimmed_pages_total", "trimmed a second"),
        ),
    ]


def _node(alerts: Alerts) -> list[Panel]:
    return [
        lines(
            "Pressure",
            "0 to 1000: what the device's watermarks add up to. The node closes and opens at two levels of "
            "it (--close-pressure, --open-pressure).",
            COUNT,
            Query(_one("cram_pressure"), "pressure"),
        ),
        states(
            "Node",
            "When it took demotions.",
            Query(_one("cram_node_open"), "node"),
            words=words.OPEN,
        ),
        lines(
            "Event lag",
            "Wall time from an event at the device until the daemons had acted on it.",
            SECONDS,
            Query(_one("instance:cram_event_lag_seconds:p99_5m"), "p99"),
            marks=[alerts.mark("CramEventLag", "instance:cram_event_lag_seconds:p99_5m")],
        ),
        lines(
            "Events",
            "Heard, missed, late and repeated. Missed ones cost a telemetry call; pressure is right again "
            "after it.",
            A_SECOND,
            _rate("cram_events_total", "heard"),
            _rate("cram_events_missed_total", "missed"),
            _rate("cram_events_late_total", "late"),
            _rate("cram_events_repeated_total", "repeated"),
        ),
        lines(
            "Device time, by operation",
            "Seconds of device time for a second of wall time, by the device's latency model: the load that "
            "this host would put on the hardware.",
            SHARE,
            _rates("cram_device_seconds_total", "operation"),
        ),
        states(
            "Device",
            "When it answered.",
            Query(_one("cram_node_online"), "device"),
            words=words.online(alerts),
            marks=[alerts.mark("CramNodeOffline", "cram_node_online")],
        ),
    ]


def _losses(alerts: Alerts) -> list[Panel]:
    return [
        lines(
            "Pages lost, by reason",
            "reset: the session ended with all bytes in the region (power lost, lease run out, taken over). "
            "poison: the device lost these bytes.",
            COUNT,
            Query(f"sum by (reason) (increase({_one('cram_pages_lost_total')}[{RATE}]))", "{{reason}}"),
            marks=[alerts.mark("CramPagesLost", "cram_pages_lost_total")],
        ),
        lines(
            "Bus errors, by what followed",
            "lost: a lost page was touched. killed, rescued: the device refused a store through a writable "
            "mapping.",
            COUNT,
            Query(f"sum by (outcome) (increase({_one('cram_bus_errors_total')}[{RATE}]))", "{{outcome}}"),
        ),
        lines(
            "Sessions lost, stalls",
            "A lost session takes everything on the device with it; stalled accesses wait for a device that "
            "does not answer.",
            COUNT,
            Query(f"increase({_one('cram_sessions_lost_total')}[{RATE}])", "sessions lost"),
            Query(f"increase({_one('cram_stalls_total')}[{RATE}])", "stalled accesses"),
            marks=[alerts.mark("CramLeaseLost", "cram_sessions_lost_total")],
        ),
        lines(
            "Pages verified",
            "Compared with what they should be, and found wrong (which must stay 0).",
            A_SECOND,
            _rate("cram_verified_pages_total", "verified"),
            _rate("cram_mismatched_pages_total", "wrong"),
        ),
    ]

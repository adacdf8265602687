"""One host: where its pages are, what its faults cost, budget, zombies, writeback, balloon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.dashboards import agent_node, words
from cramlab.dashboards.frame import begin, fill, with_annotations, with_host
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
)
from cramlab.dashboards.queries import RATE, agent_rate, agent_rates, of_agent

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
            ("Demotion, writeback, balloon", agent_node.reclaim()),
            ("Zombies and TRIM", agent_node.frees(alerts)),
            ("Node and events", agent_node.node(alerts)),
            ("Losses", agent_node.losses(alerts)),
        ],
    )


def _top(alerts: Alerts) -> list[Panel]:
    budget = alerts.mark("CramBudgetExhausted", "instance:cram_writable:budget_ratio")
    return [
        stat(
            "Device",
            "Offline: a device does not answer. Accesses to its pages stall; all else goes on. Look at the "
            "device and the network.",
            COUNT,
            Query(f"min by (instance) ({of_agent('cram_node_online')})"),
            marks=[words.offline_mark(alerts)],
            words=words.online(alerts),
        ),
        stat(
            "Node",
            "Closed: a node's pressure is high; what is cold goes to another, or to swap, and its coldest "
            "pages are written back.",
            COUNT,
            Query(f"min by (instance) ({of_agent('cram_node_open')})"),
            words=words.OPEN,
        ),
        stat(
            "Fault p99",
            "Wall time that programs wait for a page.",
            SECONDS,
            Query(of_agent("instance:cram_fault_seconds:p99_5m")),
        ),
        stat(
            "Budget used",
            "At 100 % every further writer costs a promotion: raise --budget, or age mappings sooner.",
            SHARE,
            Query(of_agent("instance:cram_writable:budget_ratio")),
            marks=[budget],
            empty="no budget",
        ),
        stat(
            "Oldest zombie",
            "How long a page without users has kept media. Growing: the reaper does not run.",
            SECONDS,
            Query(of_agent("cram_zombie_oldest_age_seconds")),
            marks=[alerts.mark("CramZombiesNotReaped", "cram_zombie_oldest_age_seconds")],
        ),
        stat(
            "Event lag p99",
            "From an event at the device until the daemons acted. Writes go on in the meantime.",
            SECONDS,
            Query(of_agent("instance:cram_event_lag_seconds:p99_5m")),
            marks=[alerts.mark("CramEventLag", "instance:cram_event_lag_seconds:p99_5m")],
        ),
        stat(
            "Pages lost",
            "In the time shown. Whoever touches one gets a bus error. 'Losses', below, says why.",
            COUNT,
            Query(f"sum(increase({of_agent('cram_pages_lost_total')}[$__range]))"),
            marks=[alerts.mark("CramPagesLost", "cram_pages_lost_total")],
        ),
        stat(
            "Wrong bytes",
            "Pages that did not read back as written, since the agent started. Anything but 0 is a bug: "
            "report it.",
            COUNT,
            Query(f"sum({of_agent('cram_mismatched_pages_total')})"),
        ),
    ]


def _pages() -> list[Panel]:
    return [
        lines(
            "Pages by state",
            "Mapped pages: DRAM; ENTRY, RO and RW on the device; SWAPPED behind it; LOST. Device states "
            "that shrink while SWAPPED grows: the node is closed and writes back.",
            COUNT,
            Query(f"sum by (state) ({of_agent('cram_pages')})", "{{state}}"),
            stacked=True,
        ),
        lines(
            "Where bytes are",
            "DRAM and its limit, the node (uncompressed), and each tier behind it.",
            BYTES,
            Query(of_agent("cram_dram_used_bytes"), "DRAM"),
            Query(of_agent("cram_dram_limit_bytes"), "DRAM limit"),
            Query(f"sum({of_agent('cram_node_used_bytes')})", "node"),
            Query(f"sum by (tier) ({of_agent('cram_swap_used_bytes')})", "{{tier}}"),
        ),
        lines(
            "Accesses",
            "By the workload; and those of them that the CPU made on the device, through a mapping, without "
            "a fault.",
            A_SECOND,
            agent_rates("cram_accesses_total", "kind"),
            Query(
                f"sum by (kind) (rate({of_agent('cram_node_accesses_total')}[{RATE}]))",
                "{{kind}} on the device",
            ),
        ),
        lines(
            "Tiers behind the node",
            "How full each is. At 100 % nothing can be written back: add swap, or zswap.",
            SHARE,
            Query(
                f"sum by (tier) ({of_agent('cram_swap_used_bytes')}) / "
                f"clamp_min(sum by (tier) ({of_agent('cram_swap_limit_bytes')}), 1)",
                "{{tier}}",
            ),
        ),
    ]


def _faults() -> list[Panel]:
    times = f"sum by (le) (rate({of_agent('cram_fault_seconds_bucket')}[{RATE}]))"
    return [
        lines(
            "Faults, by kind and outcome",
            "Promoted writes are the price of the budget; swapped-in reads the price of a closed node.",
            A_SECOND,
            Query(
                f"sum by (kind, outcome) (rate({of_agent('cram_faults_total')}[{RATE}])) > 0",
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
            agent_rates("cram_promotions_total", "outcome"),
            agent_rate("cram_swap_ins_total", "swapped in"),
        ),
        lines(
            "Read-ahead that was of use",
            "Share of the pages brought along that were used. Low: turn --fault-around or --read-ahead down.",
            SHARE,
            Query(
                f"sum by (kind) (rate({of_agent('cram_read_ahead_hits_total')}[{RATE}])) / "
                f"clamp_min(sum by (kind) (rate({of_agent('cram_read_ahead_total')}[{RATE}])), 0.001)",
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
            Query(of_agent("cram_writable_pages"), "writable"),
            Query(of_agent("cram_writable_budget_pages"), "budget"),
            Query(of_agent("cram_writable_ceiling_pages"), "ceiling"),
        ),
        lines(
            "Budget used",
            "Share of the budget. Absent without one.",
            SHARE,
            Query(of_agent("instance:cram_writable:budget_ratio"), "used"),
            marks=[budget],
        ),
        lines(
            "Made writable, or not",
            "Denied by: budget (raise it), credits (the device promises no more), mappers (shared pages), "
            "closed.",
            A_SECOND,
            agent_rate("cram_mkwrites_total", "made writable"),
            Query(
                f"sum by (reason) (rate({of_agent('cram_mkwrite_denied_total')}[{RATE}]))",
                "denied: {{reason}}",
            ),
        ),
        lines(
            "Re-protected, by reason",
            "Writable mappings made R/O again: aged, under pressure, shared, forked.",
            A_SECOND,
            agent_rates("cram_reprotects_total", "reason"),
        ),
    ]

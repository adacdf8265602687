"""One host's node: demotion and writeback, zombies and TRIM, events, losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.dashboards import words
from cramlab.dashboards.panels import (
    A_SECOND,
    BYTES,
    COUNT,
    SECONDS,
    SHARE,
    Panel,
    Query,
    lines,
    states,
)
from cramlab.dashboards.queries import RATE, agent_rate, agent_rates, of_agent, of_node

if TYPE_CHECKING:
    from cramlab.dashboards.alerts import Alerts


def reclaim() -> list[Panel]:
    """What leaves DRAM and the device, and where it goes."""
    return [
        lines(
            "Demotions, by outcome",
            "ok went to the device. closed, admission, full: the node did not take them. no_more_writes, "
            "region_limit: the device did not. Those go to swap.",
            A_SECOND,
            agent_rates("cram_demotions_total", "outcome"),
        ),
        lines(
            "Writeback",
            "Device pages moved on, by who asked. No room: they stay, and the device does not recover; add "
            "swap.",
            A_SECOND,
            agent_rates("cram_writebacks_total", "reason"),
            agent_rate("cram_writeback_no_room_total", "no room"),
        ),
        lines(
            "Balloon",
            "What it holds and should hold. Growing: the ratio is worse than advertised, and the node "
            "shrinks before the device is full.",
            BYTES,
            Query(f"sum({of_agent('cram_balloon_bytes')})", "balloon"),
            Query(f"sum({of_agent('cram_balloon_target_bytes')})", "target"),
            Query(f"sum({of_agent('cram_node_bytes')})", "node"),
        ),
        lines(
            "DRAM straight to swap, and reclaim by faults",
            "Pages that never saw the device; faults that had to reclaim by themselves (kswapd was too "
            "slow); cold pages kept because no tier had room.",
            A_SECOND,
            Query(f"sum by (tier) (rate({of_agent('cram_swap_outs_total')}[{RATE}]))", "to {{tier}}"),
            agent_rate("cram_direct_reclaims_total", "direct reclaims"),
            agent_rate("cram_reclaim_kept_total", "kept"),
        ),
    ]


def frees(alerts: Alerts) -> list[Panel]:
    """What nobody needs any more, and how its media comes back."""
    zombies = alerts.mark("CramZombiesNotReaped", "cram_zombie_oldest_age_seconds")
    return [
        lines(
            "Zombies",
            "vswap entries without users: each keeps media that nobody needs.",
            COUNT,
            Query(f"sum({of_agent('cram_zombies')})", "zombies"),
            Query(of_agent("cram_entries"), "entries"),
        ),
        lines(
            "Made and reaped",
            "Made faster than reaped for long: a larger --reap-batch.",
            A_SECOND,
            agent_rate("cram_zombies_made_total", "made"),
            agent_rate("cram_reaped_total", "reaped"),
        ),
        lines(
            "Age of the oldest zombie",
            "The reaper's delay.",
            SECONDS,
            Query(of_agent("cram_zombie_oldest_age_seconds"), "oldest"),
            marks=[zombies],
        ),
        lines(
            "TRIM",
            "Pages that wait, and pages given back a second. Waiting with nothing given back: the device "
            "does not answer TRIM, and its media is not free.",
            COUNT,
            Query(f"sum({of_agent('cram_trim_waiting_pages')})", "waiting"),
            Query(f"sum(rate({of_agent('cram_trimmed_pages_total')}[{RATE}]))", "trimmed a second"),
        ),
    ]


def node(alerts: Alerts) -> list[Panel]:
    """What the device tells, and what the agent makes of it."""
    return [
        lines(
            "Pressure",
            "0 to 1000: what each device's watermarks add up to. Its node closes and opens at two levels of "
            "it (--close-pressure, --open-pressure).",
            COUNT,
            Query(of_agent("cram_pressure"), "node {{node}}"),
        ),
        states(
            "Node",
            "When it took demotions.",
            Query(of_agent("cram_node_open"), "node {{node}}"),
            words=words.OPEN,
        ),
        lines(
            "Device pages in use, by node",
            "Uncompressed. A host of several devices has a node on each; which one takes what is demoted is "
            "--placement.",
            BYTES,
            Query(of_node(of_agent("cram_node_used_bytes")), "node {{node}}: {{device}}"),
            stacked=True,
        ),
        lines(
            "Demotions, by node",
            "Pages that each node took. None where it is closed, full or offline: its share goes to the "
            "others, or to swap.",
            A_SECOND,
            Query(
                of_node(f"rate({of_agent('cram_node_demotions_total')}[{RATE}])"),
                "node {{node}}: {{device}}",
            ),
        ),
        lines(
            "Event lag",
            "Wall time from an event at the device until the daemons had acted on it.",
            SECONDS,
            Query(of_agent("instance:cram_event_lag_seconds:p99_5m"), "p99"),
            marks=[alerts.mark("CramEventLag", "instance:cram_event_lag_seconds:p99_5m")],
        ),
        lines(
            "Events",
            "Heard, missed, late and repeated. Missed ones cost a telemetry call; pressure is right again "
            "after it.",
            A_SECOND,
            *(
                Query(f"sum(rate({of_agent(f'cram_events{kind}_total')}[{RATE}]))", legend)
                for kind, legend in (
                    ("", "heard"),
                    ("_missed", "missed"),
                    ("_late", "late"),
                    ("_repeated", "repeated"),
                )
            ),
        ),
        lines(
            "Device time, by operation",
            "Seconds of device time for a second of wall time, by the device's latency model: the load that "
            "this host would put on the hardware.",
            SHARE,
            agent_rates("cram_device_seconds_total", "operation"),
        ),
        states(
            "Device",
            "When it answered.",
            Query(of_agent("cram_node_online"), "device of node {{node}}"),
            words=words.online(alerts),
            marks=[words.offline_mark(alerts)],
        ),
    ]


def losses(alerts: Alerts) -> list[Panel]:
    """What must not happen."""
    return [
        lines(
            "Pages lost, by reason",
            "reset: the session ended with all bytes in the region (power lost, lease run out, taken over). "
            "poison: the device lost these bytes.",
            COUNT,
            Query(f"sum by (reason) (increase({of_agent('cram_pages_lost_total')}[{RATE}]))", "{{reason}}"),
            marks=[alerts.mark("CramPagesLost", "cram_pages_lost_total")],
        ),
        lines(
            "Bus errors, by what followed",
            "lost: a lost page was touched. killed, rescued: the device refused a store through a writable "
            "mapping.",
            COUNT,
            Query(f"sum by (outcome) (increase({of_agent('cram_bus_errors_total')}[{RATE}]))", "{{outcome}}"),
        ),
        lines(
            "Sessions lost",
            "A lost session takes everything on the device with it.",
            COUNT,
            Query(f"increase({of_agent('cram_sessions_lost_total')}[{RATE}])", "node {{node}}"),
            marks=[alerts.mark("CramLeaseLost", "cram_sessions_lost_total")],
            width=8,
        ),
        lines(
            "Stalled accesses",
            "To pages on a device that does not answer: the program waits until it does.",
            A_SECOND,
            agent_rate("cram_stalls_total", "stalled"),
            width=8,
        ),
        lines(
            "Pages verified",
            "Compared with what they should be, and found wrong (which must stay 0).",
            A_SECOND,
            agent_rate("cram_verified_pages_total", "verified"),
            agent_rate("cram_mismatched_pages_total", "wrong"),
            width=8,
        ),
    ]

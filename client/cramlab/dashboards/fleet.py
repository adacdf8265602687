"""Devices and hosts together: will one run out, when, because of whom, and what does it cost the hosts?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cramlab.dashboards import words
from cramlab.dashboards.alerts import ANY_IS_BAD
from cramlab.dashboards.frame import (
    DEVICE_LINK,
    HOST_LINK,
    begin,
    fill,
    with_annotations,
    with_fleet,
)
from cramlab.dashboards.panels import (
    A_SECOND,
    BYTES,
    BYTES_A_SECOND,
    COUNT,
    DURATION,
    SECONDS,
    SHARE,
    Column,
    Panel,
    Query,
    lines,
    stat,
    states,
    table,
)
from cramlab.dashboards.queries import AGENT, DEVICE, HOST, RATE, REGION, by_host

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard

    from cramlab.dashboards.alerts import Alerts, Mark

UID = "cramulator-fleet"


def build(alerts: Alerts) -> dashboard.Dashboard:
    """The dashboard."""
    frame = begin(UID, "cramulator: fleet", "Devices of compressed memory, and the hosts that live on them.")
    return fill(
        with_annotations(with_fleet(frame)),
        [
            ("", _top(alerts)),
            ("Devices", [_devices(alerts)]),
            ("Devices x hosts: who takes the media", [_regions()]),
            ("Hosts: what it costs them", [_hosts(alerts)]),
            ("Over time", _over_time()),
        ],
    )


def _top(alerts: Alerts) -> list[Panel]:
    horizon = alerts.horizon("CxlDeviceMediaExhaustionPredicted")
    return [
        stat(
            "Runs out in",
            "Time until the first device has no free media, if the last five minutes go on. Under the "
            "horizon of the alert: stop or limit the host named in 'Filled fastest by'.",
            DURATION,
            Query(
                f"bottomk(1, instance:cxldev_media_exhaustion_seconds:predict{{{DEVICE}}})", "{{instance}}"
            ),
            marks=[horizon],
            empty="not filling",
            named=True,
        ),
        stat(
            "Least free media",
            "Free share of the media of the fullest device.",
            SHARE,
            Query(f"min(instance:cxldev_media_free:ratio{{{DEVICE}}})"),
        ),
        stat(
            "Worst watermark",
            "From low on, hosts close their nodes and write back. At critical, the next writes may be "
            "refused: cut writable budgets, free memory at the hosts.",
            COUNT,
            Query(f"max(cxldev_watermark_level{{{DEVICE}}})"),
            marks=words.watermark_marks(alerts),
            words=words.watermarks(alerts),
        ),
        stat(
            "Filled fastest by",
            "The host whose region takes the most media a second. Limit it, or look at what it demotes.",
            BYTES_A_SECOND,
            Query(
                f"topk(1, sum by (host) (instance_host:cxldev_region_media_used_bytes:deriv5m{REGION}) > 0)",
                "{{host}}",
            ),
            empty="nobody",
            named=True,
        ),
        stat(
            "Slowest faults (p99)",
            "The host whose page faults take longest, wall time. This is what its programs feel.",
            SECONDS,
            Query(
                f"topk(1, {by_host(f'(instance:cram_fault_seconds:p99_5m{{{AGENT}}} >= 0)')})",
                "{{host}}",
            ),
            empty="no faults",
            named=True,
        ),
        stat(
            "Pages lost",
            "In the time shown, at all hosts. An owner that touches one gets a bus error.",
            COUNT,
            Query(f"sum(increase(cram_pages_lost_total{{{AGENT}}}[$__range]))"),
            marks=[alerts.mark("CramPagesLost", "cram_pages_lost_total")],
        ),
        stat(
            "Devices down",
            "Devices that do not answer scrapes. Their hosts stall on every page that they keep there.",
            COUNT,
            Query(f'count(up{{job="cxldev", {DEVICE}}} == 0) or vector(0)'),
            marks=[_one_or_more(alerts)],
        ),
        stat(
            "Alerts firing",
            "How many alerts fire. 'What fires', below, names them; docs/runbook.md says what to do for "
            "each.",
            COUNT,
            Query('count(ALERTS{alertstate="firing", instance=~"$device|$agent"}) or vector(0)'),
            marks=[ANY_IS_BAD],
        ),
    ]


def _one_or_more(alerts: Alerts) -> Mark:
    """A count of those that the alert would name."""
    down = alerts.mark("CxlDeviceDown", 'up{job="cxldev"}')
    return replace(down, bound=1, below=False)


def _devices(alerts: Alerts) -> Panel:
    trim = alerts.mark("CxlDeviceTrimBacklog", "cxldev_trim_queued_pages * 4096")
    poison = alerts.mark("CxlDevicePoisonLatent", "cxldev_poisoned_pages")
    ratio = alerts.mark("CxlDeviceRatioBelowAdvertised", "instance:cxldev_ratio:advertised_ratio")
    armed = alerts.mark("CxlDeviceFaultForgotten", "(cxldev_faults_armed)")
    each = "max by (instance) ({})".format
    return table(
        "Devices",
        "Click a device for its own page. 'Of what was sold' under 100 %: the data compresses worse than the "
        "advertised capacity assumes.",
        {"instance": ("Device", DEVICE_LINK)},
        [
            Column("Free media", each(f"instance:cxldev_media_free:ratio{{{DEVICE}}}"), SHARE),
            Column(
                "Runs out in",
                each(f"instance:cxldev_media_exhaustion_seconds:predict{{{DEVICE}}}"),
                DURATION,
                [alerts.horizon("CxlDeviceMediaExhaustionPredicted")],
            ),
            Column(
                "Watermark",
                each(f"cxldev_watermark_level{{{DEVICE}}}"),
                marks=words.watermark_marks(alerts),
                words=words.watermarks(alerts),
            ),
            Column(
                "Writes",
                each(f"cxldev_no_more_writes{{{DEVICE}}}"),
                marks=[words.no_more_writes_mark(alerts)],
                words=words.takes_writes(alerts),
            ),
            Column("Ratio", each(f"cxldev_ratio{{{DEVICE}}}")),
            Column(
                "Of what was sold",
                each(f"instance:cxldev_ratio:advertised_ratio{{{DEVICE}}}"),
                SHARE,
                [ratio],
            ),
            Column(
                "TRIM backlog",
                each(
                    f"cxldev_trim_queued_pages{{{DEVICE}}} * 4096 / "
                    f"clamp_min(cxldev_logical_capacity_bytes{{{DEVICE}}}, 1)"
                ),
                SHARE,
                [trim],
            ),
            Column("Poisoned pages", each(f"cxldev_poisoned_pages{{{DEVICE}}}"), COUNT, [poison]),
            Column("Hosts", each(f"cxldev_attached_hosts{{{DEVICE}}}")),
            Column("Faults armed", f"sum by (instance) (cxldev_faults_armed{{{DEVICE}}})", COUNT, [armed]),
        ],
    )


def _regions() -> Panel:
    each = "max by (instance, host) ({})".format
    return table(
        "Regions",
        "One row for each host on each device. The one with the largest fill rate is who runs the device "
        "out; a guarantee protects the others, a limit holds it back.",
        {"instance": ("Device", DEVICE_LINK), "host": ("Host", HOST_LINK)},
        [
            Column("Media used", each(f"cxldev_region_media_used_bytes{REGION}"), BYTES),
            Column(
                "Fill rate",
                each(f"instance_host:cxldev_region_media_used_bytes:deriv5m{REGION}"),
                BYTES_A_SECOND,
            ),
            Column("Guaranteed", each(f"cxldev_region_media_guaranteed_bytes{REGION}"), BYTES),
            Column("Limit", each(f"cxldev_region_media_limit_bytes{REGION}"), BYTES),
            Column("Pages stored", each(f"cxldev_region_stored_pages{REGION}")),
            Column(
                "Ratio",
                each(
                    f"cxldev_region_stored_pages{REGION} * 4096 / "
                    f"clamp_min(cxldev_region_media_used_bytes{REGION}, 1)"
                ),
            ),
            Column("Write credits", each(f"cxldev_region_credit_pages{REGION}")),
            Column("Poisoned", each(f"cxldev_region_poisoned_pages{REGION}")),
            Column("Lease left", each(f"cxldev_region_lease_remaining_seconds{REGION}"), SECONDS),
        ],
    )


def _hosts(alerts: Alerts) -> Panel:
    def each(expression: str, of: str = "max") -> str:
        return f"{of} by (host) ({by_host(expression)})"

    def counted(metric: str) -> str:
        return f"sum by (host) ({by_host(f'increase({metric}{{{AGENT}}}[$__range])')})"

    return table(
        "Hosts",
        "Click a host for its own page. Closed nodes send what is cold to swap; promotions and slow faults "
        "are the price of a small writable budget; bus errors and lost pages are what must not be.",
        {"host": ("Host", HOST_LINK)},
        [
            Column(
                "Device",
                each(f"cram_node_online{{{AGENT}}}", "min"),
                marks=[words.offline_mark(alerts)],
                words=words.online(alerts),
            ),
            Column("Node", each(f"cram_node_open{{{AGENT}}}", "min"), words=words.OPEN),
            Column("Pressure", each(f"cram_pressure{{{AGENT}}}")),
            Column("Faults", each(f"instance:cram_faults:rate5m{{{AGENT}}}"), A_SECOND),
            Column("Fault p99", each(f"instance:cram_fault_seconds:p99_5m{{{AGENT}}}"), SECONDS),
            Column("Promotions", counted("cram_promotions_total")),
            Column("In swap", each(f"sum by (job, instance) (cram_swap_used_bytes{{{AGENT}}})"), BYTES),
            Column("Bus errors", counted("cram_bus_errors_total")),
            Column(
                "Pages lost",
                counted("cram_pages_lost_total"),
                COUNT,
                [alerts.mark("CramPagesLost", "cram_pages_lost_total")],
            ),
            Column(
                "Oldest zombie",
                each(f"cram_zombie_oldest_age_seconds{{{AGENT}}}"),
                SECONDS,
                [alerts.mark("CramZombiesNotReaped", "cram_zombie_oldest_age_seconds")],
            ),
        ],
    )


def _over_time() -> list[Panel]:
    return [
        lines(
            "Free media",
            "Of each device. A line that falls steadily reaches 0 when 'Runs out in' says.",
            SHARE,
            Query(f"instance:cxldev_media_free:ratio{{{DEVICE}}}", "{{instance}}"),
        ),
        lines(
            "Media by host",
            "What each host takes, on all devices shown. The band that grows is the cause.",
            BYTES,
            Query(f"sum by (host) (cxldev_region_media_used_bytes{{{DEVICE}, {HOST}}})", "{{host}}"),
            stacked=True,
        ),
        lines(
            "Fault time (p99) by host",
            "What programs wait for, wall time. Rising with the pressure: nodes closed, faults go to swap.",
            SECONDS,
            Query(by_host(f"instance:cram_fault_seconds:p99_5m{{{AGENT}}}"), "{{host}}"),
        ),
        lines(
            "Pages that went elsewhere",
            "Written back from devices, and promoted to DRAM: what keeping devices from running out costs.",
            A_SECOND,
            Query(
                f"sum by (host) ({by_host(f'rate(cram_writebacks_total{{{AGENT}}}[{RATE}])')})",
                "{{host}} written back",
            ),
            Query(
                f"sum by (host) ({by_host(f'rate(cram_promotions_total{{{AGENT}}}[{RATE}])')})",
                "{{host}} promoted",
            ),
        ),
        states(
            "What fires",
            "Alerts over time. Each has a section in docs/runbook.md.",
            Query(
                'max by (alertname, instance) (ALERTS{alertstate="firing", instance=~"$device|$agent"})',
                "{{alertname}} {{instance}}",
            ),
            words=words.FIRING,
            width=24,
        ),
    ]

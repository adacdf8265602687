"""One device's service: watermarks and refusals, requests, TRIM and poison, sessions and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.dashboards import words
from cramlab.dashboards.panels import (
    A_SECOND,
    COUNT,
    SECONDS,
    SHARE,
    Panel,
    Query,
    lines,
    states,
)
from cramlab.dashboards.queries import DEVICE, RATE, REGION

if TYPE_CHECKING:
    from cramlab.dashboards.alerts import Alerts


def refusals(alerts: Alerts) -> list[Panel]:
    """How close to the end the device is, and what it refuses."""

    def turned_away(why: str, legend: str) -> Query:
        return Query(f"rate(cxldev_reject_{why}_pages_total{{{DEVICE}}}[{RATE}])", legend)

    return [
        states(
            "Watermark",
            "How long the device stayed at each level. Low for longer than hosts need to write back: they "
            "are losing the race.",
            Query(f"cxldev_watermark_level{{{DEVICE}}}", "watermark"),
            words=words.watermarks(alerts),
            marks=words.watermark_marks(alerts),
        ),
        states(
            "Writes",
            "When the device took no more writes.",
            Query(f"cxldev_no_more_writes{{{DEVICE}}}", "writes"),
            words=words.takes_writes(alerts),
            marks=[words.no_more_writes_mark(alerts)],
        ),
        lines(
            "Pages turned away, by reason",
            "No media: the device is full. Others' guarantee or credits, own limit: there is media, but not "
            "for this host. Read-only: a fault.",
            A_SECOND,
            turned_away("media", "no media"),
            turned_away("guarantee", "others' guarantee or credits"),
            turned_away("limit", "own limit"),
            turned_away("read_only", "read-only"),
        ),
        lines(
            "Calls refused, by status",
            "RESOURCE_EXHAUSTED: full, busy or at a limit. DATA_LOSS: poison was read. UNAVAILABLE: the "
            "device drains, or a fault refuses. Reasons in full: docs/wire.md.",
            A_SECOND,
            Query(f'sum by (code) (rate(cxldev_requests_total{{{DEVICE}, code!="OK"}}[{RATE}]))', "{{code}}"),
        ),
        lines(
            "Watermarks crossed",
            "Crossings a second. Many in both directions: the level flutters; hosts open and close with it.",
            A_SECOND,
            Query(
                f"sum by (direction) (rate(cxldev_watermark_crossings_total{{{DEVICE}}}[{RATE}]))",
                "{{direction}}",
            ),
        ),
        lines(
            "Write credits asked for",
            "Denied: hosts want to map more pages writable than the device can promise media for.",
            A_SECOND,
            Query(f"rate(cxldev_credits_granted_total{{{DEVICE}}}[{RATE}])", "granted"),
            Query(f"rate(cxldev_credits_denied_total{{{DEVICE}}}[{RATE}])", "denied"),
        ),
    ]


def requests() -> list[Panel]:
    """What is asked of it, and how long it takes."""
    device_time = f"sum by (operation, le) (rate(cxldev_request_device_seconds_bucket{{{DEVICE}}}[{RATE}]))"
    return [
        lines(
            "Pages, by operation",
            "Stored, read and given up.",
            A_SECOND,
            Query(f"sum by (operation) (rate(cxldev_pages_total{{{DEVICE}}}[{RATE}]))", "{{operation}}"),
        ),
        lines(
            "Calls, by operation",
            "Calls answered, whatever the answer.",
            A_SECOND,
            Query(f"sum by (operation) (rate(cxldev_requests_total{{{DEVICE}}}[{RATE}]))", "{{operation}}"),
        ),
        lines(
            "Wall time inside the service (p99)",
            "How long this process takes for a call. Rising together with 'Running now': the machine is "
            "busy. It says nothing of the emulated device.",
            SECONDS,
            Query(f"instance_operation:cxldev_request_wall_seconds:p99_5m{{{DEVICE}}}", "{{operation}}"),
        ),
        lines(
            "Device time of commands",
            "What the commands would cost on the device, by its latency model (and by latency faults). Never "
            "compare it with wall time.",
            SECONDS,
            Query(f"histogram_quantile(0.5, {device_time})", "{{operation}} p50"),
            Query(f"histogram_quantile(0.99, {device_time})", "{{operation}} p99"),
        ),
        lines(
            "Running now",
            "Calls being answered, pages in flight, and commands that wait because another host's turn comes "
            "first. At the limits, further calls get DEVICE_BUSY.",
            COUNT,
            Query(f"sum(cxldev_requests_running{{{DEVICE}}})", "calls"),
            Query(f"cxldev_in_flight_pages{{{DEVICE}}}", "pages"),
            Query(f"cxldev_turns_waiting{{{DEVICE}}}", "waiting for their turn"),
        ),
        lines(
            "Turned away as busy",
            "DEVICE_BUSY answers a second: more is sent than the service takes at one time. Hosts try again.",
            A_SECOND,
            Query(f"rate(cxldev_reject_device_busy_total{{{DEVICE}}}[{RATE}])", "DEVICE_BUSY"),
        ),
    ]


def loss(alerts: Alerts) -> list[Panel]:
    """Media that does not come back, and bytes that do not."""

    def created(why: str) -> Query:
        return Query(f"rate(cxldev_poison_created_{why}_pages_total{{{DEVICE}}}[{RATE}])", f"created: {why}")

    return [
        lines(
            "TRIM backlog",
            "Trimmed pages whose media is not back, as a share of the advertised capacity. Hosts believe "
            "that this media is free.",
            SHARE,
            Query(
                f"cxldev_trim_queued_pages{{{DEVICE}}} * 4096 / "
                f"clamp_min(cxldev_logical_capacity_bytes{{{DEVICE}}}, 1)",
                "queued",
            ),
            marks=[alerts.mark("CxlDeviceTrimBacklog", "cxldev_trim_queued_pages * 4096")],
        ),
        lines(
            "Media released by TRIM",
            "Pages a second. 0 while something is queued: TRIM is stuck (cramctl faults).",
            A_SECOND,
            Query(f"rate(cxldev_released_pages_total{{{DEVICE}}}[{RATE}])", "released"),
        ),
        lines(
            "Poisoned pages",
            "Pages whose bytes are lost now, by owner. A write or a TRIM heals a page.",
            COUNT,
            Query(f"cxldev_region_poisoned_pages{REGION}", "{{host}}"),
            marks=[alerts.mark("CxlDevicePoisonLatent", "cxldev_poisoned_pages")],
        ),
        lines(
            "Poison created and read",
            "Created and not read: latent, its owner does not know yet. Checksum: the media returned wrong "
            "bytes.",
            A_SECOND,
            created("exhaustion"),
            created("staging"),
            created("checksum"),
            created("injected"),
            Query(f"rate(cxldev_poison_read_pages_total{{{DEVICE}}}[{RATE}])", "read"),
        ),
    ]


def hosts(alerts: Alerts) -> list[Panel]:
    """Who is there, and what an operator does on purpose."""
    return [
        lines(
            "Lease left, by host",
            "A line that falls to 0: the host is not heard of, and loses everything that it keeps here.",
            SECONDS,
            Query(f"cxldev_region_lease_remaining_seconds{REGION}", "{{host}}"),
        ),
        lines(
            "Leases run out",
            "Sessions ended because their host was not heard of in time. What it kept here is gone.",
            COUNT,
            Query(f"increase(cxldev_leases_expired_total{{{DEVICE}}}[{RATE}])", "leases run out"),
            marks=[alerts.mark("CxlDeviceLeaseLost", "cxldev_leases_expired_total")],
        ),
        lines(
            "Sessions",
            "Hosts that hold one now, and same-host lanes that are open: hosts without a lane pay for gRPC.",
            COUNT,
            Query(f"cxldev_attached_hosts{{{DEVICE}}}", "attached"),
            Query(f"cxldev_lanes{{{DEVICE}}}", "lanes"),
            width=8,
        ),
        lines(
            "Faults armed, by kind",
            "What an operator armed. Cleared with cramctl clear.",
            COUNT,
            Query(f"sum by (kind) (cxldev_faults_armed{{{DEVICE}}}) > 0", "{{kind}}"),
            stacked=True,
            width=8,
        ),
        lines(
            "What armed faults changed",
            "Commands, pages and events that were not as they should be, on purpose.",
            A_SECOND,
            Query(f"sum by (kind) (rate(cxldev_faults_fired_total{{{DEVICE}}}[{RATE}])) > 0", "{{kind}}"),
            width=8,
        ),
    ]

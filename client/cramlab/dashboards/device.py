"""One device: its media, its data, who fills it, what it refuses, how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.dashboards import device_service, words
from cramlab.dashboards.frame import begin, fill, with_annotations, with_device
from cramlab.dashboards.panels import (
    BYTES,
    BYTES_A_SECOND,
    COUNT,
    DURATION,
    SECONDS,
    SHARE,
    Panel,
    Query,
    histogram,
    lines,
    stat,
)
from cramlab.dashboards.queries import AGENT, DEVICE, REGION, by_host

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard

    from cramlab.dashboards.alerts import Alerts

UID = "cramulator-device"


def build(alerts: Alerts) -> dashboard.Dashboard:
    """The dashboard."""
    frame = begin(UID, "cramulator: device", "One device: capacity, compression, refusals, latency.")
    return fill(
        with_annotations(with_device(frame)),
        [
            ("", _top(alerts)),
            ("Capacity", _capacity()),
            ("Compression", _compression()),
            ("Watermarks and refusals", device_service.refusals(alerts)),
            ("Requests", device_service.requests()),
            ("TRIM and poison", device_service.loss(alerts)),
            ("Hosts and faults", device_service.hosts(alerts)),
        ],
    )


def _top(alerts: Alerts) -> list[Panel]:
    here = f"and on (host) cxldev_region_stored_pages{{{DEVICE}}}"
    return [
        stat(
            "Runs out in",
            "Time until no media is free, if the last five minutes go on. Under the horizon of the alert: "
            "stop or limit the host named in 'Filled fastest by'.",
            DURATION,
            Query(f"instance:cxldev_media_exhaustion_seconds:predict{{{DEVICE}}}"),
            marks=[alerts.horizon("CxlDeviceMediaExhaustionPredicted")],
            empty="not filling",
        ),
        stat(
            "Free media",
            "Share of the media that is not used for anything.",
            SHARE,
            Query(f"instance:cxldev_media_free:ratio{{{DEVICE}}}"),
        ),
        stat(
            "Watermark",
            "From low on, hosts close their nodes and write back. At critical, the next writes may be "
            "refused.",
            COUNT,
            Query(f"cxldev_watermark_level{{{DEVICE}}}"),
            marks=words.watermark_marks(alerts),
            words=words.watermarks(alerts),
        ),
        stat(
            "Writes",
            "No more writes: a page was refused for want of media. Media comes back by writeback and TRIM.",
            COUNT,
            Query(f"cxldev_no_more_writes{{{DEVICE}}}"),
            marks=[words.no_more_writes_mark(alerts)],
            words=words.takes_writes(alerts),
        ),
        stat(
            "Ratio, of what was sold",
            "Observed ratio / advertised ratio. Under 100 % the media is full before the advertised "
            "capacity is: advertise less (--zratio), or find the host whose data does not compress.",
            SHARE,
            Query(f"instance:cxldev_ratio:advertised_ratio{{{DEVICE}}}"),
            marks=[alerts.mark("CxlDeviceRatioBelowAdvertised", "instance:cxldev_ratio:advertised_ratio")],
            empty="nothing stored",
        ),
        stat(
            "Filled fastest by",
            "The host whose region takes the most media a second here. Limit it, or look at what it demotes.",
            BYTES_A_SECOND,
            Query(f"topk(1, instance_host:cxldev_region_media_used_bytes:deriv5m{REGION} > 0)", "{{host}}"),
            empty="nobody",
            named=True,
        ),
        stat(
            "Slowest faults (p99)",
            "Of the hosts on this device, the one whose page faults take longest, wall time.",
            SECONDS,
            Query(
                f"topk(1, max by (host) ({by_host(f'(instance:cram_fault_seconds:p99_5m{{{AGENT}}} >= 0)')}) "
                f"{here})",
                "{{host}}",
            ),
            empty="no faults",
            named=True,
        ),
        stat(
            "Faults armed",
            "By an operator, on purpose. If the experiment is over: cramctl clear --all.",
            COUNT,
            Query(f"sum(cxldev_faults_armed{{{DEVICE}}})"),
            marks=[alerts.mark("CxlDeviceFaultForgotten", "(cxldev_faults_armed)")],
        ),
    ]


def _capacity() -> list[Panel]:
    return [
        lines(
            "Media used, by kind",
            "Sectors hold data, metadata tells where it is; staged is acknowledged and not compressed yet; "
            "reserved is held back by faults. The sum meets the physical capacity when the device is full.",
            BYTES,
            Query(f"sum by (kind) (cxldev_media_used_bytes{{{DEVICE}}})", "{{kind}}"),
            stacked=True,
        ),
        lines(
            "Free media, and the forecast",
            "The forecast is what would be free in ten minutes if the last five go on. Below 0: act now.",
            BYTES,
            Query(f"cxldev_media_free_bytes{{{DEVICE}}}", "free"),
            Query(f"instance:cxldev_media_free_bytes:predict10m{{{DEVICE}}}", "in ten minutes"),
            Query(f"cxldev_physical_capacity_bytes{{{DEVICE}}}", "physical capacity"),
        ),
        lines(
            "Media used, by host",
            "The band that grows is who fills the device.",
            BYTES,
            Query(f"cxldev_region_media_used_bytes{REGION}", "{{host}}"),
            stacked=True,
        ),
        lines(
            "Fill rate, by host",
            "Media taken a second; below 0 while a host gives back.",
            BYTES_A_SECOND,
            Query(f"instance_host:cxldev_region_media_used_bytes:deriv5m{REGION}", "{{host}}"),
        ),
        lines(
            "What each host may take",
            "A limit holds its host back; a guarantee keeps media from all others. If limits add up to more "
            "than the physical capacity, hosts can run the device out together.",
            BYTES,
            Query(f"cxldev_region_media_limit_bytes{REGION}", "{{host}} limit"),
            Query(f"cxldev_region_media_guaranteed_bytes{REGION}", "{{host}} guaranteed"),
        ),
        lines(
            "Write credits, by host",
            "4096 bytes of media are kept for each: room that no other write can have.",
            COUNT,
            Query(f"cxldev_region_credit_pages{REGION}", "{{host}}"),
        ),
    ]


def _compression() -> list[Panel]:
    return [
        lines(
            "Ratio",
            "Observed against advertised. Where the observed line crosses below, the bet is lost.",
            COUNT,
            Query(f"cxldev_ratio{{{DEVICE}}}", "observed"),
            Query(f"cxldev_zratio{{{DEVICE}}}", "advertised"),
        ),
        lines(
            "Pages stored",
            "Raw pages save no sector; same-filled ones take none. Raw rising is what lowers the ratio.",
            COUNT,
            Query(f"cxldev_stored_pages{{{DEVICE}}}", "stored"),
            Query(f"cxldev_raw_pages{{{DEVICE}}}", "raw"),
            Query(f"cxldev_same_filled_pages{{{DEVICE}}}", "same-filled"),
        ),
        histogram(
            "Pages by sectors",
            "How many stored pages take up to so many sectors each, now. A heap at the right: the data does "
            "not compress. No host may know this.",
            Query(f"sum by (le) (cxldev_page_sectors_bucket{{{DEVICE}}})", "{{le}}"),
        ),
    ]

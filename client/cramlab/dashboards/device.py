"""One device: its media, its data, who fills it, what it refuses, how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramlab.dashboards import words
from cramlab.dashboards.frame import (
    AGENT,
    DEVICE,
    HOST,
    RATE,
    begin,
    by_host,
    fill,
    with_annotations,
    with_device,
)
from cramlab.dashboards.panels import (
    A_SECOND,
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
    states,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import dashboard

    from cramlab.dashboards.alerts import Alerts

UID = "cramulator-device"

_REGION = f"{{{DEVICE}, {HOST}}}"


def build(alerts: Alerts) -> dashboard.Dashboard:
    """The dashboard."""
    frame = begin(UID, "cramulator: device", "One device: capacity, compression, refusals, latency.")
    return fill(
        with_annotations(with_device(frame)),
        [
            ("", _top(alerts)),
            ("Capacity", _capacity()),
            ("Compression", _compression(alerts)),
            ("Watermarks and refusals", _refusals(alerts)),
            ("Requests", _requests()),
            ("TRIM and poison", _loss(alerts)),
            ("Hosts and faults", _hosts()),
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
            words=words.watermarks(alerts),
        ),
        stat(
            "Writes",
            "No more writes: a page was refused for want of media. Media comes back by writeback and TRIM.",
            COUNT,
            Query(f"cxldev_no_more_writes{{{DEVICE}}}"),
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
            Query(f"topk(1, instance_host:cxldev_region_media_used_bytes:deriv5m{_REGION})", "{{host}}"),
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
            named=True,
        ),
        stat(
            "Faults armed",
            "By an operator, on purpose. If the experiment is over: cramctl clear --all.",
            COUNT,
            Query(f"sum(cxldev_faults_armed{{{DEVICE}}})"),
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
            Query(f"cxldev_region_media_used_bytes{_REGION}", "{{host}}"),
            stacked=True,
        ),
        lines(
            "Fill rate, by host",
            "Media taken a second; below 0 while a host gives back.",
            BYTES_A_SECOND,
            Query(f"instance_host:cxldev_region_media_used_bytes:deriv5m{_REGION}", "{{host}}"),
        ),
        lines(
            "What each host may take",
            "A limit holds its host back; a guarantee keeps media from all others. If limits add up to more "
            "than the physical capacity, hosts can run the device out together.",
            BYTES,
            Query(f"cxldev_region_media_limit_bytes{_REGION}", "{{host}} limit"),
            Query(f"cxldev_region_media_guaranteed_bytes{_REGION}", "{{host}} guaranteed"),
        ),
        lines(
            "Write credits, by host",
            "4096 bytes of media are kept for each: room that no other write can have.",
            COUNT,
            Query(f"cxldev_region_credit_pages{_REGION}", "{{host}}"),
        ),
    ]


def _compression(alerts: Alerts) -> list[Panel]:
    return [
        lines(
            "Ratio",
            "Observed against advertised. Where the observed line crosses below, the bet is lost.",
            COUNT,
            Query(f"cxldev_ratio{{{DEVICE}}}", "observed"),
            Query(f"cxldev_zratio{{{DEVICE}}}", "advertised"),
        ),
        histogram(
            "Pages by sectors",
            "How many stored pages take up to so many sectors each, now. A heap at the right: the data does "
            "not compress. No host may know this.",
            Query(f"sum by (le) (cxldev_page_sectors_bucket{{{DEVICE}}})", "{{le}}"),
        ),
        lines(
            "Pages stored",
            "Raw pages save no sector; same-filled ones take none. Raw rising is what lowers the ratio.",
            COUNT,
            Query(f"cxldev_stored_pages{{{DEVICE}}}", "stored"),
            Query(f"cxldev_raw_pages{{{DEVICE}}}", "raw"),
            Query(f"cxldev_same_filled_pages{{{DEVICE}}}", "same-filled"),
        ),
        lines(
            "Ratio, of what was sold",
            "Under 100 %: advertise less, or find the host whose data does not compress ('Ratio' in the "
            "fleet's table of regions).",
            SHARE,
            Query(f"instance:cxldev_ratio:advertised_ratio{{{DEVICE}}}", "observed / advertised"),
            marks=[alerts.mark("CxlDeviceRatioBelowAdvertised", "instance:cxldev_ratio:advertised_ratio")],
        ),
    ]


def _refusals(alerts: Alerts) -> list[Panel]:
    def turned_away(why: str, legend: str) -> Query:
        return Query(f"rate(cxldev_reject_{why}_pages_total{{{DEVICE}}}[{RATE}])", legend)

    return [
        states(
            "Watermark",
            "How long the device stayed at each level. Low for longer than hosts need to write back: they "
            "are losing the race.",
            Query(f"cxldev_watermark_level{{{DEVICE}}}", "watermark"),
            words=words.watermarks(alerts),
            marks=[
                alerts.mark("CxlDeviceWatermarkLow", "cxldev_watermark_level"),
                alerts.mark("CxlDeviceWatermarkCritical", "cxldev_watermark_level"),
            ],
        ),
        states(
            "Writes",
            "When the device took no more writes.",
            Query(f"cxldev_no_more_writes{{{DEVICE}}}", "writes"),
            words=words.takes_writes(alerts),
            marks=[alerts.mark("CxlDeviceNoMoreWrites", "cxldev_no_more_writes")],
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


def _requests() -> list[Panel]:
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
            "Calls being answered, and pages in flight. At the limits, further calls get DEVICE_BUSY.",
            COUNT,
            Query(f"sum(cxldev_requests_running{{{DEVICE}}})", "calls"),
            Query(f"cxldev_in_flight_pages{{{DEVICE}}}", "pages"),
        ),
        lines(
            "Turned away as busy",
            "DEVICE_BUSY answers a second: more is sent than the service takes at one time. Hosts try again.",
            A_SECOND,
            Query(f"rate(cxldev_reject_device_busy_total{{{DEVICE}}}[{RATE}])", "DEVICE_BUSY"),
        ),
    ]


def _loss(alerts: Alerts) -> list[Panel]:
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
            Query(f"cxldev_region_poisoned_pages{_REGION}", "{{host}}"),
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


def _hosts() -> list[Panel]:
    return [
        lines(
            "Lease left, by host",
            "A line that falls to 0: the host is not heard of, and loses everything that it keeps here.",
            SECONDS,
            Query(f"cxldev_region_lease_remaining_seconds{_REGION}", "{{host}}"),
        ),
        lines(
            "Sessions",
            "Attached now, and sessions that ended because their lease ran out (ever).",
            COUNT,
            Query(f"cxldev_attached_hosts{{{DEVICE}}}", "attached"),
            Query(f"cxldev_leases_expired_total{{{DEVICE}}}", "leases run out"),
        ),
        lines(
            "Faults armed, by kind",
            "What an operator armed. Cleared with cramctl clear.",
            COUNT,
            Query(f"sum by (kind) (cxldev_faults_armed{{{DEVICE}}}) > 0", "{{kind}}"),
            stacked=True,
        ),
        lines(
            "What armed faults changed",
            "Commands, pages and events that were not as they should be, on purpose.",
            A_SECOND,
            Query(f"sum by (kind) (rate(cxldev_faults_fired_total{{{DEVICE}}}[{RATE}])) > 0", "{{kind}}"),
        ),
    ]

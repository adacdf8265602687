"""Prometheus metrics: `cxldev_*`, base units, one consistent reading of the device per scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from cxldev.faults import LAYER_ORDER
from cxldevd.errors import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from cxldev.telemetry import Counters, RegionTelemetry, Status
    from cxldevd.in_flight import InFlight
    from cxldevd.request_metrics import RequestMetrics
    from cxldevd.runtime import Runtime
    from cxldevd.slots import Slots
    from cxldevd.turns import Turns

_GAUGES: Final[tuple[tuple[str, str, Callable[[Status], float]], ...]] = (
    (
        "logical_capacity_bytes",
        "What the device advertises, bytes of DPA.",
        lambda status: status.telemetry.logical_capacity_bytes,
    ),
    (
        "physical_capacity_bytes",
        "Media that really exists.",
        lambda status: status.telemetry.physical_capacity_bytes,
    ),
    (
        "media_free_bytes",
        "Media that is not used for anything.",
        lambda status: status.telemetry.media_free_bytes,
    ),
    (
        "media_used_peak_bytes",
        "The most media ever used at one time since the process started.",
        lambda status: status.counters.peak_media_used_bytes,
    ),
    ("stored_pages", "Pages that hold data, of all regions.", lambda status: status.telemetry.stored_pages),
    (
        "same_filled_pages",
        "Stored pages that are one repeated word and take no sector.",
        lambda status: status.same_filled_stored_pages,
    ),
    (
        "raw_pages",
        "Stored pages that compression does not make smaller by a sector.",
        lambda status: status.raw_stored_pages,
    ),
    ("poisoned_pages", "Pages whose bytes are lost now.", lambda status: status.poisoned_stored_pages),
    (
        "trim_queued_pages",
        "Trimmed pages whose media is not released yet.",
        lambda status: status.telemetry.trim_queued_pages,
    ),
    (
        "ratio",
        "Observed: logical bytes stored / media bytes that they take; 0 while nothing is stored.",
        lambda status: status.telemetry.ratio_milli / 1000,
    ),
    (
        "zratio",
        "The ratio assumed when the capacity was advertised.",
        lambda status: status.telemetry.zratio_milli / 1000,
    ),
    (
        "watermark_level",
        "How much media remains: 1 above high, 2 high, 3 medium, 4 low, 5 critical.",
        lambda status: status.telemetry.watermark,
    ),
    (
        "no_more_writes",
        "1 from the first page that the media could not take until enough is free again, else 0.",
        lambda status: status.telemetry.no_more_writes,
    ),
    ("attached_hosts", "Hosts that hold a session.", lambda status: len(status.regions)),
    (
        "event_sequence",
        "Number of the newest event of this generation.",
        lambda status: status.telemetry.event_sequence,
    ),
)

_COUNTERS: Final[tuple[tuple[str, str, Callable[[Counters], float]], ...]] = (
    ("released_pages", "Trimmed pages whose media came back.", lambda c: c.released_pages),
    (
        "same_filled_written_pages",
        "Pages written that were one repeated word and took no sector.",
        lambda c: c.same_filled_pages,
    ),
    ("raw_written_pages", "Pages written that saved no sector and were stored raw.", lambda c: c.raw_pages),
    ("staged_pages", "Pages acknowledged into the staging buffer.", lambda c: c.staged_pages),
    ("drained_pages", "Staged pages that were compressed and stored.", lambda c: c.drained_pages),
    (
        "written_through_pages",
        "Pages that a device with a staging buffer compressed before the answer, as it was full.",
        lambda c: c.written_through_pages,
    ),
    ("credits_granted", "Write credits that were granted.", lambda c: c.credits_granted),
    ("credits_denied", "Write credits that were asked for and not granted.", lambda c: c.credits_denied),
    (
        "no_more_writes_episodes",
        "Times that the device went into no more writes.",
        lambda c: c.no_more_writes,
    ),
    (
        "reject_media_pages",
        "Pages turned away because the media had no room.",
        lambda c: c.refused_media_pages,
    ),
    (
        "reject_guarantee_pages",
        "Pages turned away because the room was guaranteed to other regions, or promised as credits.",
        lambda c: c.refused_guarantee_pages,
    ),
    (
        "reject_limit_pages",
        "Pages turned away by their region's own limit.",
        lambda c: c.refused_limit_pages,
    ),
    (
        "reject_read_only_pages",
        "Pages turned away because a fault made the media read-only.",
        lambda c: c.refused_read_only_pages,
    ),
    ("bit_flipped_pages", "Pages of which the operator flipped bits.", lambda c: c.bit_flipped_pages),
    (
        "poison_created_exhaustion_pages",
        "Pages acknowledged and poisoned for want of media, in exhaustion mode poison.",
        lambda c: c.poison_created_exhaustion_pages,
    ),
    (
        "poison_created_staging_pages",
        "Pages acknowledged into the staging buffer that found no room when they left it.",
        lambda c: c.poison_created_staging_pages,
    ),
    (
        "poison_created_injected_pages",
        "Pages poisoned by the operator.",
        lambda c: c.poison_created_injected_pages,
    ),
    (
        "poison_created_checksum_pages",
        "Pages poisoned because a read found bytes that did not match their checksum.",
        lambda c: c.poison_created_checksum_pages,
    ),
    ("poison_read_pages", "Poisoned pages that reads met.", lambda c: c.poison_read_pages),
    ("attaches", "Sessions given out.", lambda c: c.attaches),
    ("detaches", "Sessions ended, for whatever reason.", lambda c: c.detaches),
    ("leases_expired", "Sessions ended because their lease ran out.", lambda c: c.leases_expired),
    (
        "capacity_added_bytes",
        "DPA space that the device added to regions.",
        lambda c: c.capacity_added_bytes,
    ),
    (
        "capacity_released_bytes",
        "DPA space that hosts gave back when the device asked for it.",
        lambda c: c.capacity_released_bytes,
    ),
    (
        "capacity_forced_bytes",
        "DPA space that the device took by force.",
        lambda c: c.capacity_forced_bytes,
    ),
    (
        "capacity_lost_pages",
        "Pages that held data where the device took DPA space by force.",
        lambda c: c.capacity_lost_pages,
    ),
    ("resets", "Times that power was lost and came back.", lambda c: c.resets),
    (
        "capacity_identity_checks",
        "Times that used + free = physical was asserted, and held.",
        lambda c: c.capacity_identity_checks,
    ),
)

_REGION_GAUGES: Final[tuple[tuple[str, str, Callable[[RegionTelemetry], float]], ...]] = (
    ("logical_bytes", "Size of the region's DPA space.", lambda region: region.logical_bytes),
    ("media_used_bytes", "Media that the region takes.", lambda region: region.media_used_bytes),
    (
        "media_guaranteed_bytes",
        "Media that other regions cannot take.",
        lambda region: region.guaranteed_media_bytes,
    ),
    (
        "media_limit_bytes",
        "Media that the region may take at most.",
        lambda region: region.limit_media_bytes,
    ),
    ("stored_pages", "Pages of the region that hold data.", lambda region: region.stored_pages),
    (
        "trim_queued_pages",
        "Trimmed pages of the region whose media is not released yet.",
        lambda region: region.trim_queued_pages,
    ),
    (
        "credit_pages",
        "Write credits that the region holds, spent or not: 4096 bytes of media are kept for each.",
        lambda region: region.credit_pages,
    ),
    (
        "room_bytes",
        "Media that new pages of the region may take now: free, in its limit, and nobody else's.",
        lambda region: region.room_bytes,
    ),
    (
        "asked_back_bytes",
        "DPA space that the device asks the region's host for, and has not got.",
        lambda region: (
            0
            if region.asked_back_to_bytes is None
            else max(0, region.logical_bytes - region.asked_back_to_bytes)
        ),
    ),
)


class DeviceCollector(Collector):
    """Everything but durations, read when Prometheus asks."""

    def __init__(
        self,
        runtime: Runtime,
        requests: RequestMetrics,
        in_flight: InFlight,
        turns: Turns,
        watchers: dict[str, Slots],
    ) -> None:
        self._runtime = runtime
        self._requests = requests
        self._in_flight = in_flight
        self._turns = turns
        self._watchers = watchers

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not read the device to know the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        with self._runtime.device() as (device, now_ns):
            status = device.status(now_ns)
        yield from status_families(status)
        yield from self._service()

    def _service(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "cxldev_requests",
            "Calls answered, by operation and gRPC status code.",
            labels=["operation", "code"],
        )
        for (operation, code), count in sorted(self._requests.ended_by_code().items()):
            ended.add_metric([operation, code], count)
        yield ended
        running = GaugeMetricFamily("cxldev_requests_running", "Calls that run now.", labels=["operation"])
        for operation, count in sorted(self._requests.running_now().items()):
            running.add_metric([operation], count)
        yield running
        refused = self._requests.refused_by_error()
        for error, row in TABLE.items():
            yield CounterMetricFamily(
                f"cxldev_reject_{row.name.lower()}",
                f"Calls answered {row.name}. {row.means}.",
                value=refused.get(error, 0),
            )
        yield GaugeMetricFamily(
            "cxldev_in_flight_pages",
            "Pages being written and read now, or waiting for their turn.",
            value=self._in_flight.pages,
        )
        yield GaugeMetricFamily(
            "cxldev_turns_waiting",
            "Data commands that wait for their host's turn.",
            value=self._turns.waiting,
        )
        yield CounterMetricFamily(
            "cxldev_turns_waited",
            "Data commands, and parts of large ones, that had to wait for their host's turn.",
            value=self._turns.waited,
        )
        watchers = GaugeMetricFamily("cxldev_watchers", "Event streams that are open.", labels=["listener"])
        for listener, slots in self._watchers.items():
            watchers.add_metric([listener], slots.taken)
        yield watchers


def status_families(status: Status) -> Iterator[Metric]:
    """All that the device itself counts, of one consistent reading; the service around it is apart."""
    generation = InfoMetricFamily("cxldev_generation", "Id of this power-on of the device.")
    generation.add_metric([], {"generation": status.telemetry.generation})
    yield generation
    for name, meaning, gauge in _GAUGES:
        yield GaugeMetricFamily(f"cxldev_{name}", meaning, value=gauge(status))
    for name, meaning, counter in _COUNTERS:
        yield CounterMetricFamily(f"cxldev_{name}", meaning, value=counter(status.counters))
    yield from _media(status)
    yield from _operations(status.counters)
    yield from _regions(status)


def _media(status: Status) -> Iterator[Metric]:
    use = status.media
    used = GaugeMetricFamily(
        "cxldev_media_used_bytes", "Media that is used, by what it is used for.", labels=["kind"]
    )
    used.add_metric(["sectors"], use.sectors_bytes)
    used.add_metric(["metadata"], use.metadata_bytes)
    used.add_metric(["staged"], use.staged_bytes)
    used.add_metric(["reserved"], use.reserved_bytes)
    yield used
    buckets, total = [], 0
    for sectors, pages in enumerate(use.pages_by_sectors):
        total += pages
        buckets.append((str(sectors), float(total)))
    buckets.append(("+Inf", float(total)))
    yield HistogramMetricFamily(
        "cxldev_page_sectors",
        "Stored pages by the sectors that each takes (what no host may know).",
        buckets=buckets,
        sum_value=sum(sectors * pages for sectors, pages in enumerate(use.pages_by_sectors)),
    )
    faults = GaugeMetricFamily("cxldev_faults_armed", "Faults that are armed, by kind.", labels=["kind"])
    armed = [fault.fault.kind for fault in status.faults]
    for layer in LAYER_ORDER:
        faults.add_metric([layer.kind], armed.count(layer.kind))
    yield faults
    fired = CounterMetricFamily(
        "cxldev_faults_fired",
        "What armed faults changed: commands, pages, events; by kind.",
        labels=["kind"],
    )
    for kind, times in status.faults_fired:
        fired.add_metric([kind], times)
    yield fired


def _operations(counters: Counters) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "cxldev_data_requests", "Data commands that the device took up, by operation.", labels=["operation"]
    )
    requests.add_metric(["write"], counters.write_requests)
    requests.add_metric(["read"], counters.read_requests)
    requests.add_metric(["trim"], counters.trim_requests)
    requests.add_metric(["flush"], counters.flush_requests)
    yield requests
    pages = CounterMetricFamily(
        "cxldev_pages",
        "Pages stored, read, and given up while they held data, by operation.",
        labels=["operation"],
    )
    pages.add_metric(["write"], counters.written_pages)
    pages.add_metric(["read"], counters.read_pages)
    pages.add_metric(["trim"], counters.trimmed_pages)
    yield pages
    crossings = CounterMetricFamily(
        "cxldev_watermark_crossings", "Watermarks crossed, by direction.", labels=["direction"]
    )
    crossings.add_metric(["down"], counters.watermark_falls)
    crossings.add_metric(["up"], counters.watermark_rises)
    yield crossings


def _regions(status: Status) -> Iterator[Metric]:
    for name, meaning, gauge in _REGION_GAUGES:
        family = GaugeMetricFamily(f"cxldev_region_{name}", meaning, labels=["host"])
        for region in status.regions:
            family.add_metric([region.telemetry.host], gauge(region.telemetry))
        yield family
    poisoned = GaugeMetricFamily(
        "cxldev_region_poisoned_pages", "Pages of the region whose bytes are lost.", labels=["host"]
    )
    lease = GaugeMetricFamily(
        "cxldev_region_lease_remaining_seconds", "How long the region's lease still lasts.", labels=["host"]
    )
    for region in status.regions:
        poisoned.add_metric([region.telemetry.host], region.poisoned_pages)
        lease.add_metric([region.telemetry.host], region.lease_remaining_ns / 1e9)
    yield poisoned
    yield lease

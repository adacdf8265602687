"""The agent's metrics, `cram_*`, of one picture: names, help, labels, base units.

Every label has a bounded set of values, and all of them are there from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from cramagent.link import LinkState
from cramagent.policy.settings import PAGE_BYTES
from cramagent.policy.states import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from cramagent.picture import Picture
    from cramagent.tally import Histogram


def families(picture: Picture) -> Iterator[Metric]:
    """All metrics, so that they agree with each other."""
    for part in (_memory, _faults, _budget, _reclaim, _frees, _node, _workload):
        yield from part(picture)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, label: str, rows: Iterable[tuple[str, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, value in rows:
        family.add_metric([word], value)
    return family


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _counters(
    name: str, text: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], float]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for words, value in rows:
        family.add_metric(words, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.sum)


def _memory(picture: Picture) -> Iterator[Metric]:
    host = picture.host
    yield _gauges(
        "cram_pages",
        "Mapped virtual pages by state, one per mapper.",
        "state",
        ((state.name.lower(), host.pages.get(state, 0)) for state in State if state is not State.NONE),
    )
    yield _gauge("cram_spaces", "Address spaces that live.", host.spaces)
    yield _gauge("cram_dram_used_bytes", "DRAM that address spaces use.", host.dram_used * PAGE_BYTES)
    yield _gauge("cram_dram_limit_bytes", "DRAM that they may use.", host.dram_frames * PAGE_BYTES)
    yield _gauges(
        "cram_swap_used_bytes",
        "What the pages in each tier behind the node take there.",
        "tier",
        ((tier, used) for tier, (used, _) in picture.tiers.items()),
    )
    yield _gauges(
        "cram_swap_limit_bytes",
        "What they may take there.",
        "tier",
        ((tier, limit) for tier, (_, limit) in picture.tiers.items()),
    )
    yield _gauges(
        "cram_swap_pages",
        "Pages in each tier behind the node.",
        "tier",
        ((tier.value, pages) for tier, pages in host.swap_used.items()),
    )
    yield _gauge("cram_entries", "vswap entries, zombies included.", host.entries)


def _faults(picture: Picture) -> Iterator[Metric]:
    yield _counters(
        "cram_faults",
        "Page faults by kind (what the access was) and outcome (what the handler did).",
        ("kind", "outcome"),
        picture.faults.items(),
    )
    yield _histogram(
        "cram_fault_seconds",
        "Wall time until a fault was answered; the faults of one batch are answered together.",
        picture.tally.fault_seconds,
    )
    counters = picture.counters
    yield _counter("cram_mkwrites", counters.sentences()["mkwrites"], counters.mkwrites)
    yield _counters(
        "cram_promotions",
        "Device pages copied to DRAM: moved for all mappers, or copied for one writer alone.",
        ("outcome",),
        ((("moved",), counters.promotions), (("copied",), counters.promotions_copied)),
    )
    yield _counter("cram_swap_ins", counters.sentences()["swap_ins"], counters.swap_ins)
    yield _counter("cram_direct_reclaims", counters.sentences()["direct_reclaims"], counters.direct_reclaims)
    yield _counters(
        "cram_bus_errors",
        "Accesses that met lost bytes, and stores that the device could not take, by what followed.",
        ("outcome",),
        (
            (("lost",), counters.bus_errors),
            (("killed",), counters.bus_error_kills),
            (("rescued",), counters.bus_error_rescues),
        ),
    )
    yield _counter("cram_killed_accesses", counters.sentences()["killed_accesses"], counters.killed_accesses)
    yield _counters(
        "cram_pages_lost",
        "Mapped pages whose bytes were lost, counted per mapper when it happened.",
        ("reason",),
        (
            (("reset",), counters.pages_lost_reset),
            (("forced_release",), counters.pages_lost_released),
            (("poison",), counters.pages_lost_poison),
        ),
    )


def _budget(picture: Picture) -> Iterator[Metric]:
    host, counters = picture.host, picture.counters
    yield _gauge("cram_writable_pages", "Device pages mapped writable: writable_cnt.", host.writable)
    yield _gauge(
        "cram_writable_budget_pages",
        "How many may be, at one time: the budget as set, or what the device keeps media for.",
        host.budget,
    )
    yield _gauge(
        "cram_write_credits_unspent", "Write credits that are left (budget = tokens).", host.credits_unspent
    )
    yield _counters(
        "cram_write_credits",
        "Write credits that the device granted or did not, that were spent on a mkwrite, and given up.",
        ("outcome",),
        (
            (("granted",), counters.credits_granted),
            (("refused",), counters.credits_refused),
            (("spent",), counters.credits_spent),
            (("dropped",), counters.credits_dropped),
        ),
    )
    sentences = counters.sentences()
    yield _counter(
        "cram_credit_requests_unanswered",
        sentences["credit_requests_unanswered"],
        counters.credit_requests_unanswered,
    )
    yield _gauge(
        "cram_writable_ceiling_pages",
        "What of the budget holds under the pressure of now.",
        host.writable_ceiling,
    )
    yield _counters(
        "cram_read_ahead",
        "Pages brought along by a neighbour's fault (mapped R/O on the node; loaded from the swap file).",
        ("kind",),
        ((("fault_around",), counters.fault_around), (("swap",), counters.read_ahead)),
    )
    yield _counters(
        "cram_read_ahead_hits",
        "Those of them that were used before they went elsewhere: faults spared.",
        ("kind",),
        ((("fault_around",), counters.fault_around_hits), (("swap",), counters.read_ahead_hits)),
    )
    yield _counters(
        "cram_mkwrite_denied",
        "Write faults on device pages that were promoted instead of mapped writable.",
        ("reason",),
        (
            (("budget",), counters.mkwrite_denied_budget),
            (("credits",), counters.mkwrite_denied_credits),
            (("mappers",), counters.mkwrite_denied_mappers),
            (("closed",), counters.mkwrite_denied_closed),
        ),
    )
    yield _counters(
        "cram_reprotects",
        "Writable mappings made R/O again.",
        ("reason",),
        (
            (("aged",), counters.reprotects_aged),
            (("pressure",), counters.reprotects_pressure),
            (("shared",), counters.reprotects_shared),
            (("fork",), counters.fork_protects),
        ),
    )


def _reclaim(picture: Picture) -> Iterator[Metric]:
    counters = picture.counters
    yield _counters(
        "cram_demotions",
        "DRAM pages offered to the node, or kept from it, by what came of it.",
        ("outcome",),
        (
            (("ok",), counters.demotions),
            (("void",), counters.demotions_void),
            (("closed",), counters.demote_denied_closed),
            (("admission",), counters.demote_denied_admission),
            (("full",), counters.demote_denied_full),
            (("no_more_writes",), counters.demote_refused_no_more_writes),
            (("region_limit",), counters.demote_refused_region_limit),
            (("poisoned",), counters.demote_refused_poisoned),
            (("unavailable",), counters.demote_unavailable),
            (("gone",), counters.demote_gone),
        ),
    )
    yield _counters(
        "cram_ineligible",
        "Allocations from the node that were refused: they were not the demotion path's.",
        ("reason",),
        (
            (("gfp",), counters.ineligible_gfp),
            (("file",), counters.ineligible_file),
            (("kernel",), counters.ineligible_kernel),
        ),
    )
    yield _counters(
        "cram_swap_outs",
        "DRAM pages that a tier behind the node took.",
        ("tier",),
        ((("zswap",), counters.swap_outs_zswap), (("swapfile",), counters.swap_outs_swapfile)),
    )
    yield _counters(
        "cram_swap_full",
        "Pages that a tier behind the node had no room for.",
        ("tier",),
        ((("zswap",), counters.zswap_full), (("swapfile",), counters.swapfile_full)),
    )
    yield _counter("cram_reclaim_kept", counters.sentences()["reclaim_kept"], counters.reclaim_kept)
    yield _counter("cram_kswapd_wakes", counters.sentences()["kswapd_wakes"], counters.kswapd_wakes)
    balloon, release = counters.writebacks_balloon, counters.writebacks_release
    # The policy counts what moved; each tier's share of it is not told apart there.
    yield _counters(
        "cram_writebacks",
        "Device pages moved to a tier behind the node, by who asked for it.",
        ("reason",),
        (
            (("pressure",), counters.writebacks - balloon - release),
            (("balloon",), balloon),
            (("release",), release),
        ),
    )
    yield _counter(
        "cram_writeback_no_room", counters.sentences()["writeback_no_room"], counters.writeback_no_room
    )


def _frees(picture: Picture) -> Iterator[Metric]:
    host, counters = picture.host, picture.counters
    yield _counters(
        "cram_frees",
        "Pages given up, by what the free answered.",
        ("outcome",),
        (
            (("done",), counters.frees_done),
            (("deferred",), counters.frees_deferred),
            (("buffer_full",), counters.frees_buffer_full),
        ),
    )
    yield _gauge("cram_zombies", "vswap entries whose last user is gone.", host.zombies)
    yield _gauge(
        "cram_zombie_oldest_age_seconds",
        "How long the oldest zombie has waited for the reaper.",
        host.oldest_zombie_ns / 1e9,
    )
    yield _counter("cram_zombies_made", counters.sentences()["zombies_made"], counters.zombies_made)
    yield _counter("cram_reaped", counters.sentences()["reaped"], counters.reaped)
    yield _counter("cram_trim_batches", counters.sentences()["trim_commands"], counters.trim_commands)
    yield _counter(
        "cram_trim_unavailable", counters.sentences()["trim_unavailable"], counters.trim_unavailable
    )
    yield _gauge("cram_trim_waiting_pages", "Freed device pages that wait for TRIM.", host.trim_waiting)
    yield _counter("cram_trimmed_pages", counters.sentences()["trimmed_pages"], counters.trimmed_pages)


def _node(picture: Picture) -> Iterator[Metric]:
    host, counters, tally = picture.host, picture.counters, picture.tally
    yield InfoMetricFamily(
        "cram_host",
        "Name that the host attaches with: `host` of the device's metrics.",
        value={"host": picture.name},
    )
    yield _gauge("cram_pressure", "What the device's watermarks add up to, 0 to 1000.", host.pressure)
    yield _gauge("cram_node_open", "Whether the node takes new demotions.", host.open)
    yield _gauge(
        "cram_node_online", "Whether a session holds and the device answers.", picture.link is LinkState.UP
    )
    yield _gauge("cram_node_bytes", "Size of the region.", host.node_pages * PAGE_BYTES)
    yield _gauge(
        "cram_node_used_bytes",
        "Device pages in use, zombies included, uncompressed.",
        host.node_used * PAGE_BYTES,
    )
    yield _gauge(
        "cram_balloon_target_bytes", "What the balloon should hold.", host.balloon_target * PAGE_BYTES
    )
    yield _gauge("cram_balloon_bytes", "What the balloon holds.", host.balloon_size * PAGE_BYTES)
    yield _counters(
        "cram_node_transitions",
        "Times that pressure closed the node, or let it open again.",
        ("to",),
        ((("closed",), counters.node_closes), (("open",), counters.node_opens)),
    )
    yield _counters(
        "cram_writes_refused",
        "Write commands that the device ended early.",
        ("reason",),
        (((status.value,), count) for status, count in picture.refused_writes.items()),
    )
    yield _counter("cram_sessions_lost", counters.sentences()["sessions_lost"], counters.sessions_lost)
    yield _counter("cram_reattaches", "Sessions begun after one was over.", tally.reattaches)
    yield _counter(
        "cram_control_silences",
        "Renewals that were not answered while the data path was.",
        tally.control_silences,
    )
    yield _counter("cram_stalls", counters.sentences()["stalls"], counters.stalls)
    yield _counter("cram_events", "Device events heard.", tally.events)
    yield _counter(
        "cram_events_missed",
        "Device events that were dropped before they could be heard, and gaps in the stream.",
        tally.events_missed,
    )
    yield _counter(
        "cram_events_repeated",
        "Device events that came a second time, and were dropped.",
        tally.events_repeated,
    )
    yield _counter(
        "cram_events_late",
        "Device events that came behind later ones: what they say of the device's state is not believed.",
        tally.events_late,
    )
    yield _counter(
        "cram_readings_stale",
        "Readings that were older than one taken before, and were not believed.",
        tally.readings_stale,
    )
    yield _histogram(
        "cram_event_lag_seconds",
        "Wall time from an event at the device until the daemons had acted on it.",
        tally.event_lag_seconds,
    )
    yield _counters(
        "cram_device_seconds",
        "Device time of this agent's commands, by the device's latency model; not wall time.",
        ("operation",),
        (((operation,), ns / 1e9) for operation, ns in picture.device_ns.items()),
    )


def _workload(picture: Picture) -> Iterator[Metric]:
    tally, counters = picture.tally, picture.counters
    yield _counters(
        "cram_accesses",
        "Pages that the workload read or stored.",
        ("kind",),
        ((("read",), tally.reads), (("write",), tally.writes)),
    )
    yield _counters(
        "cram_node_accesses",
        "Pages that the CPU read from or stored to the device, through a mapping.",
        ("kind",),
        ((("read",), counters.node_loads), (("write",), counters.node_stores)),
    )
    yield _counter(
        "cram_verified_pages", "Pages whose bytes were compared with what they should be.", tally.verified
    )
    yield _counter("cram_mismatched_pages", "Pages whose bytes were wrong.", tally.mismatched)
    yield _counter("cram_deferred_stores", "Stores put off until the device answers.", tally.deferred)
    yield _counter("cram_restored_pages", "Lost pages stored anew from the source.", tally.restored)
    yield _counter("cram_killed_spaces", "Address spaces cleared away after a bus error.", tally.killed)
    yield _counter("cram_source_scans", "Times that the source was read through.", tally.scans)
    yield _gauge(
        "cram_source_pages_left_out", "Pages of the source beyond --max-pages.", picture.pages_left_out
    )

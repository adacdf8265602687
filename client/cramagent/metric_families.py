"""The agent's metrics, `cram_*`, of one picture: names, help, labels, base units.

Every label has a bounded set of values, and all of them are there from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramagent.family import counter, counter_rows, gauge, gauge_rows, histogram
from cramagent.node_families import node_families
from cramagent.policy.settings import PAGE_BYTES
from cramagent.policy.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from cramagent.picture import Picture


def families(picture: Picture) -> Iterator[Metric]:
    """All metrics, so that they agree with each other."""
    for part in (_memory, _faults, _budget, _reclaim, _frees, node_families, _workload):
        yield from part(picture)


def _memory(picture: Picture) -> Iterator[Metric]:
    host = picture.host
    yield gauge_rows(
        "cram_pages",
        "Mapped virtual pages by state, one per mapper.",
        "state",
        ((state.name.lower(), host.pages.get(state, 0)) for state in State if state is not State.NONE),
    )
    yield gauge("cram_spaces", "Address spaces that live.", host.spaces)
    yield gauge("cram_dram_used_bytes", "DRAM that address spaces use.", host.dram_used * PAGE_BYTES)
    yield gauge("cram_dram_limit_bytes", "DRAM that they may use.", host.dram_frames * PAGE_BYTES)
    yield gauge_rows(
        "cram_swap_used_bytes",
        "What the pages in each tier behind the node take there.",
        "tier",
        ((tier, used) for tier, (used, _) in picture.tiers.items()),
    )
    yield gauge_rows(
        "cram_swap_limit_bytes",
        "What they may take there.",
        "tier",
        ((tier, limit) for tier, (_, limit) in picture.tiers.items()),
    )
    yield gauge_rows(
        "cram_swap_pages",
        "Pages in each tier behind the node.",
        "tier",
        ((tier.value, pages) for tier, pages in host.swap_used.items()),
    )
    yield gauge("cram_entries", "vswap entries, zombies included.", host.entries)


def _faults(picture: Picture) -> Iterator[Metric]:
    yield counter_rows(
        "cram_faults",
        "Page faults by kind (what the access was) and outcome (what the handler did).",
        ("kind", "outcome"),
        picture.faults.items(),
    )
    yield histogram(
        "cram_fault_seconds",
        "Wall time until a fault was answered; the faults of one batch are answered together.",
        picture.tally.fault_seconds,
    )
    counters = picture.counters
    yield counter("cram_mkwrites", counters.sentences()["mkwrites"], counters.mkwrites)
    yield counter_rows(
        "cram_promotions",
        "Device pages copied to DRAM: moved for all mappers, or copied for one writer alone.",
        ("outcome",),
        ((("moved",), counters.promotions), (("copied",), counters.promotions_copied)),
    )
    yield counter("cram_swap_ins", counters.sentences()["swap_ins"], counters.swap_ins)
    yield counter("cram_direct_reclaims", counters.sentences()["direct_reclaims"], counters.direct_reclaims)
    yield counter_rows(
        "cram_bus_errors",
        "Accesses that met lost bytes, and stores that the device could not take, by what followed.",
        ("outcome",),
        (
            (("lost",), counters.bus_errors),
            (("killed",), counters.bus_error_kills),
            (("rescued",), counters.bus_error_rescues),
        ),
    )
    yield counter("cram_killed_accesses", counters.sentences()["killed_accesses"], counters.killed_accesses)


def _budget(picture: Picture) -> Iterator[Metric]:
    host, counters = picture.host, picture.counters
    yield gauge("cram_writable_pages", "Device pages mapped writable: writable_cnt.", host.writable)
    yield gauge(
        "cram_writable_budget_pages",
        "How many may be, at one time: the budget as set, or what the device keeps media for.",
        host.budget,
    )
    yield gauge(
        "cram_write_credits_unspent", "Write credits that are left (budget = tokens).", host.credits_unspent
    )
    yield counter_rows(
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
    yield counter(
        "cram_credit_requests_unanswered",
        sentences["credit_requests_unanswered"],
        counters.credit_requests_unanswered,
    )
    yield gauge(
        "cram_writable_ceiling_pages",
        "What of the budget holds under the pressure of now.",
        host.writable_ceiling,
    )
    yield counter_rows(
        "cram_read_ahead",
        "Pages brought along by a neighbour's fault (mapped R/O on the node; loaded from the swap file).",
        ("kind",),
        ((("fault_around",), counters.fault_around), (("swap",), counters.read_ahead)),
    )
    yield counter_rows(
        "cram_read_ahead_hits",
        "Those of them that were used before they went elsewhere: faults spared.",
        ("kind",),
        ((("fault_around",), counters.fault_around_hits), (("swap",), counters.read_ahead_hits)),
    )
    yield counter_rows(
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
    yield counter_rows(
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
    yield counter_rows(
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
    yield counter_rows(
        "cram_ineligible",
        "Allocations from the node that were refused: they were not the demotion path's.",
        ("reason",),
        (
            (("gfp",), counters.ineligible_gfp),
            (("file",), counters.ineligible_file),
            (("kernel",), counters.ineligible_kernel),
        ),
    )
    yield counter_rows(
        "cram_swap_outs",
        "DRAM pages that a tier behind the node took.",
        ("tier",),
        ((("zswap",), counters.swap_outs_zswap), (("swapfile",), counters.swap_outs_swapfile)),
    )
    yield counter_rows(
        "cram_swap_full",
        "Pages that a tier behind the node had no room for.",
        ("tier",),
        ((("zswap",), counters.zswap_full), (("swapfile",), counters.swapfile_full)),
    )
    yield counter("cram_reclaim_kept", counters.sentences()["reclaim_kept"], counters.reclaim_kept)
    yield counter("cram_kswapd_wakes", counters.sentences()["kswapd_wakes"], counters.kswapd_wakes)
    yield counter(
        "cram_writeback_no_room", counters.sentences()["writeback_no_room"], counters.writeback_no_room
    )


def _frees(picture: Picture) -> Iterator[Metric]:
    host, counters = picture.host, picture.counters
    yield counter_rows(
        "cram_frees",
        "Pages given up, by what the free answered.",
        ("outcome",),
        (
            (("done",), counters.frees_done),
            (("deferred",), counters.frees_deferred),
            (("buffer_full",), counters.frees_buffer_full),
        ),
    )
    yield gauge("cram_zombies", "vswap entries whose last user is gone.", host.zombies)
    yield gauge(
        "cram_zombie_oldest_age_seconds",
        "How long the oldest zombie has waited for the reaper.",
        host.oldest_zombie_ns / 1e9,
    )
    yield counter("cram_zombies_made", counters.sentences()["zombies_made"], counters.zombies_made)
    yield counter("cram_reaped", counters.sentences()["reaped"], counters.reaped)
    yield counter("cram_trim_batches", counters.sentences()["trim_commands"], counters.trim_commands)
    yield counter(
        "cram_trim_unavailable", counters.sentences()["trim_unavailable"], counters.trim_unavailable
    )


def _workload(picture: Picture) -> Iterator[Metric]:
    tally, counters = picture.tally, picture.counters
    yield counter_rows(
        "cram_accesses",
        "Pages that the workload read or stored.",
        ("kind",),
        ((("read",), tally.reads), (("write",), tally.writes)),
    )
    yield counter_rows(
        "cram_node_accesses",
        "Pages that the CPU read from or stored to the device, through a mapping.",
        ("kind",),
        ((("read",), counters.node_loads), (("write",), counters.node_stores)),
    )
    yield counter(
        "cram_verified_pages", "Pages whose bytes were compared with what they should be.", tally.verified
    )
    yield counter("cram_mismatched_pages", "Pages whose bytes were wrong.", tally.mismatched)
    yield counter("cram_deferred_stores", "Stores put off until the device answers.", tally.deferred)
    yield counter("cram_restored_pages", "Lost pages stored anew from the source.", tally.restored)
    yield counter("cram_killed_spaces", "Address spaces cleared away after a bus error.", tally.killed)
    yield counter("cram_source_scans", "Times that the source was read through.", tally.scans)
    yield gauge(
        "cram_source_pages_left_out", "Pages of the source beyond --max-pages.", picture.pages_left_out
    )

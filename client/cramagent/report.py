"""What a run came to: the JSON of `--json`, and a few lines for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cramagent.metric_families import families
from cramagent.picture import Picture
from cramagent.policy.effects import NodeStatus
from cramagent.policy.settings import PAGE_BYTES
from cramwire.units import format_bytes, format_duration
from cramwire.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from cramagent.attachment import Attachment
    from cramagent.farewell import Ending
    from cramagent.machine import Machine
    from cramagent.policy.snapshot import HostSnapshot

_FAILED_REASONS = frozenset({"mismatch", "out_of_memory", "failed"})


def exit_code(machine: Machine, ending: Ending) -> int:
    """0: every byte that could be read was right, and none was left unread."""
    wrong = machine.tally.mismatched or ending.verified.unread or ending.reason in _FAILED_REASONS
    return 1 if wrong else 0


def make_report(machine: Machine, ending: Ending, facts: dict[str, Any]) -> dict[str, Any]:
    """The whole report. `facts` say what was run: host, source, seed, pattern, settings."""
    counters, tally, nodes = machine.host.counters, machine.tally, machine.attachments
    snapshot = machine.host.snapshot()
    links = [node.link for node in nodes]
    device_ns = {
        operation: sum(link.client.device_ns[operation] for link in links)
        for operation in links[0].client.device_ns
    }
    return {
        **facts,
        "exit_reason": ending.reason,
        "exit_code": exit_code(machine, ending),
        "error": ending.error,
        "pages_verified": tally.verified,
        "pages_verified_at_end": ending.verified.compared,
        "pages_mismatched": tally.mismatched,
        "pages_lost": counters.pages_lost,
        "pages_lost_reset": counters.pages_lost_reset,
        "pages_lost_released": counters.pages_lost_released,
        "pages_lost_poison": counters.pages_lost_poison,
        "pages_restored": tally.restored,
        "pages_unrestored": tally.unrestored + ending.verified.lost + machine.workload.lost_waiting,
        "pages_unread": ending.verified.unread,
        "pages_left_out": machine.source.pages_left_out,
        "demotions": counters.demotions,
        "read_faults": counters.read_faults,
        "mkwrites": counters.mkwrites,
        "promotions": counters.promotions + counters.promotions_copied,
        "writebacks": counters.writebacks,
        "reaped": counters.reaped,
        "trimmed_pages": counters.trimmed_pages,
        "no_more_writes": sum(link.refused_writes[NodeStatus.NO_MORE_WRITES] for link in links),
        "region_limit": sum(link.refused_writes[NodeStatus.REGION_LIMIT] for link in links),
        "bus_errors": counters.bus_errors + counters.bus_error_kills + counters.bus_error_rescues,
        "killed_spaces": tally.killed,
        "stalls": counters.stalls,
        "reattaches": sum(node.tally.reattaches for node in nodes),
        "generation": links[0].generation,
        "detached": ending.detached,
        "accesses": tally.reads + tally.writes,
        "wall_seconds": ending.wall_ns / 1e9,
        "device_seconds": sum(device_ns.values()) / 1e9,
        "device_seconds_by_operation": {operation: ns / 1e9 for operation, ns in device_ns.items()},
        "pages": {state.name.lower(): count for state, count in snapshot.pages.items()},
        "dram_bytes": snapshot.dram_frames * PAGE_BYTES,
        "nodes": [_node_report(node, snapshot) for node in nodes],
        "lost": [asdict(run) for run in machine.losses.runs],
        "mismatches": [asdict(mismatch) for mismatch in machine.accesses.mismatches],
        "counters": asdict(counters),
        "metrics": last_metrics(machine),
    }


def _node_report(node: Attachment, snapshot: HostSnapshot) -> dict[str, Any]:
    """What one node came to. Pages."""
    gauges, link = snapshot.nodes[node.number], node.link
    counters = asdict(gauges.counters)
    return {
        "node": node.number,
        "device": node.device,
        "generation": link.generation,
        "open": gauges.open,
        "pressure": gauges.pressure,
        "pages": gauges.pages,
        "pages_used": gauges.used,
        "pages_lost": gauges.counters.pages_lost,
        "refused_writes": {status.value: count for status, count in link.refused_writes.items()},
        "reattaches": node.tally.reattaches,
        "device_seconds": sum(link.client.device_ns.values()) / 1e9,
        "counters": counters,
    }


def last_metrics(machine: Machine) -> dict[str, float]:
    """What `/metrics` would say now, by series: `cram_pages{state="dram"}`."""
    last: dict[str, float] = {}
    for family in families(Picture.take(machine)):
        for sample in family.samples:
            labels = ",".join(f'{label}="{value}"' for label, value in sample.labels.items())
            last[f"{sample.name}{{{labels}}}" if labels else sample.name] = float(sample.value)
    return last


def write_report(path: Path, report: dict[str, Any]) -> None:
    """The report as JSON, all at once: a reader sees the whole file or none.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(path, json.dumps(report, indent=1) + "\n")


def summary(report: dict[str, Any]) -> str:
    """The report for people, without a final newline."""
    run = (
        f"{report['host']}: {report['source']}, seed {report['seed']}, pattern {report['pattern']}; "
        f"ended by {report['exit_reason']} after {report['wall_seconds']:.1f} s"
    )
    pages = (
        f"  verified {report['pages_verified']} pages, {report['pages_mismatched']} wrong, "
        f"{report['pages_lost']} lost ({report['pages_restored']} stored anew), "
        f"{report['pages_unread']} unread"
    )
    moves = (
        f"  DRAM {format_bytes(report['dram_bytes'])}; demotions {report['demotions']}, "
        f"read faults {report['read_faults']}, mkwrites {report['mkwrites']}, "
        f"promotions {report['promotions']}, writebacks {report['writebacks']}, "
        f"reaped {report['reaped']}, trimmed {report['trimmed_pages']}"
    )
    device = (
        f"  no more writes {report['no_more_writes']}, bus errors {report['bus_errors']}, "
        f"stalls {report['stalls']}, reattaches {report['reattaches']}; {report['accesses']} accesses, "
        f"device time {format_duration(report['device_seconds'] * 1e9)}"
    )
    lines = [run, pages, moves, device]
    if len(report["nodes"]) > 1:
        lines.extend(
            f"  node {node['node']} ({node['device']}): demotions {node['counters']['demotions']}, "
            f"writebacks {node['counters']['writebacks']}, lost {node['pages_lost']}, "
            f"no more writes {node['refused_writes']['no_more_writes']}, reattaches {node['reattaches']}; "
            f"{node['pages_used']} pages on it at the end"
            for node in report["nodes"]
        )
    lines.extend(
        f"  WRONG: space {wrong['space']} vpn {wrong['vpn']:#x} state {wrong['state']} "
        f"found by {wrong['found_by']}"
        for wrong in report["mismatches"]
    )
    return "\n".join(lines)

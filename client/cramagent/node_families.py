"""The metrics of an agent's nodes: the label `node` is the number of one, in the order of `--device`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import InfoMetricFamily

from cramagent.family import counter, counter_rows, gauge_rows, histogram_rows
from cramagent.link import LinkState
from cramagent.policy.settings import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from cramagent.picture import NodePicture, Picture
    from cramagent.policy.snapshot import NodeSnapshot
    from cramagent.tally import NodeTally


def node_families(picture: Picture) -> Iterator[Metric]:
    """All of them."""
    for part in (_named, _gauges, _counted_by_policy, _counted_by_runner, _of_commands):
        yield from part(picture)


def _named(picture: Picture) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "cram_host",
        "Name that the host attaches with: `host` of the device's metrics.",
        value={"host": picture.name},
    )
    info = InfoMetricFamily("cram_node", "Where each node's device is, as `--device` says.", labels=["node"])
    for node in picture.nodes:
        info.add_metric([str(node.number)], {"device": node.device})
    yield info


def _gauges(picture: Picture) -> Iterator[Metric]:
    def rows(value: Callable[[NodeSnapshot], float]) -> list[tuple[str, float]]:
        return [(str(node.number), value(node)) for node in picture.host.nodes]

    yield gauge_rows(
        "cram_pressure",
        "What the device's watermarks add up to, 0 to 1000.",
        "node",
        rows(lambda node: node.pressure),
    )
    yield gauge_rows(
        "cram_node_open", "Whether the node takes new demotions.", "node", rows(lambda node: node.open)
    )
    yield gauge_rows(
        "cram_node_online",
        "Whether a session holds and the device answers.",
        "node",
        [(str(node.number), node.link is LinkState.UP) for node in picture.nodes],
    )
    yield gauge_rows(
        "cram_node_bytes", "Size of the region.", "node", rows(lambda node: node.pages * PAGE_BYTES)
    )
    yield gauge_rows(
        "cram_node_used_bytes",
        "Device pages in use, zombies included, uncompressed.",
        "node",
        rows(lambda node: node.used * PAGE_BYTES),
    )
    yield gauge_rows(
        "cram_node_free_pages",
        "Device pages that may be allocated at once.",
        "node",
        rows(lambda node: node.free),
    )
    yield gauge_rows(
        "cram_node_writable_pages",
        "Device pages of the node that are mapped writable: its share of writable_cnt.",
        "node",
        rows(lambda node: node.writable),
    )
    yield gauge_rows(
        "cram_balloon_target_bytes",
        "What the balloon should hold.",
        "node",
        rows(lambda node: node.balloon_target * PAGE_BYTES),
    )
    yield gauge_rows(
        "cram_balloon_bytes",
        "What the balloon holds.",
        "node",
        rows(lambda node: node.balloon_size * PAGE_BYTES),
    )
    yield gauge_rows(
        "cram_trim_waiting_pages",
        "Freed device pages that wait for TRIM.",
        "node",
        rows(lambda node: node.trim_waiting),
    )


def _counted_by_policy(picture: Picture) -> Iterator[Metric]:
    sentences = picture.counters.sentences()
    nodes = [(str(node.number), node.counters) for node in picture.host.nodes]
    yield counter_rows(
        "cram_node_demotions",
        "DRAM pages that the node took: where `--placement` put them.",
        "node",
        [(node, counters.demotions) for node, counters in nodes],
    )
    # The policy counts what moved; each tier's share of it is not told apart there.
    yield counter_rows(
        "cram_writebacks",
        "Device pages moved to a tier behind the node, by who asked for it.",
        ("node", "reason"),
        [
            ((node, reason), pages)
            for node, counters in nodes
            for reason, pages in (
                (
                    "pressure",
                    counters.writebacks - counters.writebacks_balloon - counters.writebacks_release,
                ),
                ("balloon", counters.writebacks_balloon),
                ("release", counters.writebacks_release),
            )
        ],
    )
    yield counter_rows(
        "cram_trimmed_pages",
        sentences["trimmed_pages"],
        "node",
        [(node, counters.trimmed_pages) for node, counters in nodes],
    )
    yield counter_rows(
        "cram_pages_lost",
        "Mapped pages whose bytes were lost, counted per mapper when it happened.",
        ("node", "reason"),
        [
            ((node, reason), pages)
            for node, counters in nodes
            for reason, pages in (
                ("reset", counters.pages_lost_reset),
                ("forced_release", counters.pages_lost_released),
                ("poison", counters.pages_lost_poison),
            )
        ],
    )
    yield counter_rows(
        "cram_node_transitions",
        "Times that pressure closed the node, or let it open again.",
        ("node", "to"),
        [
            ((node, to), times)
            for node, counters in nodes
            for to, times in (("closed", counters.closes), ("open", counters.opens))
        ],
    )
    yield counter_rows(
        "cram_sessions_lost",
        sentences["sessions_lost"],
        "node",
        [(node, counters.sessions_lost) for node, counters in nodes],
    )
    yield counter("cram_stalls", sentences["stalls"], picture.counters.stalls)


def _counted_by_runner(picture: Picture) -> Iterator[Metric]:
    def rows(value: Callable[[NodeTally], float]) -> list[tuple[str, float]]:
        return [(str(node.number), value(node.tally)) for node in picture.nodes]

    yield counter_rows(
        "cram_reattaches",
        "Sessions begun after one was over.",
        "node",
        rows(lambda tally: tally.reattaches),
    )
    yield counter_rows(
        "cram_control_silences",
        "Renewals that were not answered while the data path was.",
        "node",
        rows(lambda tally: tally.control_silences),
    )
    yield counter_rows("cram_events", "Device events heard.", "node", rows(lambda tally: tally.events))
    yield counter_rows(
        "cram_events_missed",
        "Device events that were dropped before they could be heard, and gaps in the stream.",
        "node",
        rows(lambda tally: tally.events_missed),
    )
    yield counter_rows(
        "cram_events_repeated",
        "Device events that came a second time, and were dropped.",
        "node",
        rows(lambda tally: tally.events_repeated),
    )
    yield counter_rows(
        "cram_events_late",
        "Device events that came behind later ones: what they say of the device's state is not believed.",
        "node",
        rows(lambda tally: tally.events_late),
    )
    yield counter_rows(
        "cram_readings_stale",
        "Readings that were older than one taken before, and were not believed.",
        "node",
        rows(lambda tally: tally.readings_stale),
    )
    yield histogram_rows(
        "cram_event_lag_seconds",
        "Wall time from an event at the device until the daemons had acted on it.",
        "node",
        [(str(node.number), node.tally.event_lag_seconds) for node in picture.nodes],
    )


def _of_commands(picture: Picture) -> Iterator[Metric]:
    def rows(of: Callable[[NodePicture], list[tuple[str, float]]]) -> list[tuple[tuple[str, str], float]]:
        return [((str(node.number), word), value) for node in picture.nodes for word, value in of(node)]

    yield counter_rows(
        "cram_writes_refused",
        "Write commands that the device ended early.",
        ("node", "reason"),
        rows(lambda node: [(status.value, count) for status, count in node.refused_writes.items()]),
    )
    yield counter_rows(
        "cram_device_seconds",
        "Device time of this agent's commands, by the device's latency model; not wall time.",
        ("node", "operation"),
        rows(lambda node: [(operation, ns / 1e9) for operation, ns in node.device_ns.items()]),
    )

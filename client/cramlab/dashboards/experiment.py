"""Two runs beside each other: two hosts at one time, or one host at two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard

from cramlab.dashboards import words
from cramlab.dashboards.frame import begin, choose, fill, with_annotations
from cramlab.dashboards.panels import (
    A_SECOND,
    BYTES,
    COUNT,
    SECONDS,
    SHARE,
    Panel,
    Query,
    lines,
    stat,
    states,
)
from cramlab.dashboards.queries import RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramlab.dashboards.alerts import Alerts

UID = "cramulator-experiment"


@dataclass(frozen=True, slots=True)
class Run:
    """One side of the comparison."""

    name: str
    host: str
    agent: str
    offset: str = ""
    """How long before the time shown it ran, as PromQL says it."""

    def agents(self, metric: str, window: str = "") -> str:
        """A metric of the run's agent; a range of it if there is a window."""
        return f'{metric}{{instance=~"{self.agent}"}}{f"[{window}]" if window else ""}{self.offset}'

    def region(self, metric: str) -> str:
        """A metric of the run's region at its device."""
        return f'{metric}{{host=~"{self.host}"}}{self.offset}'

    def total(self, metric: str) -> str:
        """How much a counter grew in the time shown."""
        return f"sum(increase({self.agents(metric, '$__range')}))"

    def rate(self, metric: str) -> str:
        """How fast a counter grows."""
        return f"sum(rate({self.agents(metric, RATE)}))"


A: Final = Run("A", "$host_a", "$agent_a")
B: Final = Run("B", "$host_b", "$agent_b", " offset $earlier")
_COLOURS: Final = {"^A": "blue", "^B": "orange"}


def build(alerts: Alerts) -> dashboard.Dashboard:
    """The dashboard."""
    frame = begin(
        UID,
        "cramulator: experiment",
        "Two runs beside each other. Runs at one time: choose two hosts. Runs one after the other: show the "
        "later one, and say how much earlier the other one was.",
    )
    hosts = "label_values(cram_host_info, host)"
    frame.with_variable(choose("host_a", "Run A", hosts))
    frame.with_variable(choose("host_b", "Run B", hosts))
    frame.with_variable(
        dashboard.TextBoxVariable("earlier")
        .label("B was earlier by")
        .description("20m: run B was twenty minutes before what is shown. 1ms: at the same time as A.")
        # PromQL takes no offset of 0.
        .default_value("1ms")
    )
    for run in ("a", "b"):
        agents = f'label_values(cram_host_info{{host=~"$host_{run}"}}, instance)'
        frame.with_variable(choose(f"agent_{run}", f"Agent {run.upper()}", agents, hidden=True))
    devices = 'label_values(cxldev_region_stored_pages{host=~"$host_a|$host_b"}, instance)'
    frame.with_variable(choose("device", "Device", devices, hidden=True))
    frame.with_variable(
        choose(
            "agent", "Agent", 'label_values(cram_host_info{host=~"$host_a|$host_b"}, instance)', hidden=True
        )
    )
    return fill(
        with_annotations(frame),
        [
            ("", _figures()),
            ("Pages by state", [_states_of(A), _states_of(B)]),
            ("Over time", _over_time(alerts)),
        ],
    )


def _both(expression: Callable[[Run], str]) -> list[Query]:
    return [Query(expression(run), f"{run.name}: {run.host}") for run in (A, B)]


def _figures() -> list[Panel]:
    def share(metric: str) -> Callable[[Run], str]:
        return lambda run: f"{run.total(metric)} / clamp_min({run.total('cram_accesses_total')}, 1)"

    def figure(title: str, text: str, unit: str, expression: Callable[[Run], str]) -> Panel:
        return stat(title, text, unit, *_both(expression), width=6, named=True)

    return [
        figure(
            "Accesses",
            "What the workload got done in the time shown. Compare the rest only if these are alike.",
            COUNT,
            lambda run: run.total("cram_accesses_total"),
        ),
        figure(
            "Faults per access",
            "Fewer is better: the rest needed no help.",
            SHARE,
            share("cram_faults_total"),
        ),
        figure(
            "Fault time (p99)",
            "Wall time over the time shown.",
            SECONDS,
            lambda run: (
                f"histogram_quantile(0.99, sum by (le) "
                f"(increase({run.agents('cram_fault_seconds_bucket', '$__range')})))"
            ),
        ),
        figure(
            "Device time per access",
            "By the latency model: what the run would cost on the hardware. Does not depend on this machine.",
            SECONDS,
            share("cram_device_seconds_total"),
        ),
        figure(
            "Promotions per access",
            "Writes and reads that brought a page back to DRAM.",
            SHARE,
            share("cram_promotions_total"),
        ),
        figure(
            "Writebacks per access",
            "Pages pushed on to swap because the device ran short.",
            SHARE,
            share("cram_writebacks_total"),
        ),
        figure(
            "Bus errors",
            "Accesses that met lost bytes or a device that took no more writes: what no run should have.",
            COUNT,
            lambda run: run.total("cram_bus_errors_total"),
        ),
        figure(
            "Pages lost",
            "By reset, lease or poison.",
            COUNT,
            lambda run: run.total("cram_pages_lost_total"),
        ),
    ]


def _states_of(run: Run) -> Panel:
    return lines(
        f"Run {run.name}: {run.host}",
        "Where the pages of the run are. Runs differ where one has more on the device, the other more in "
        "swap.",
        COUNT,
        Query(f"sum by (state) ({run.agents('cram_pages')})", "{{state}}"),
        stacked=True,
    )


def _over_time(alerts: Alerts) -> list[Panel]:
    def chart(title: str, text: str, unit: str, expression: Callable[[Run], str]) -> Panel:
        return lines(title, text, unit, *_both(expression), colours=_COLOURS)

    lag = alerts.mark("CramEventLag", "instance:cram_event_lag_seconds:p99_5m")
    return [
        chart(
            "Accesses",
            "Pages that the workload read or stored.",
            A_SECOND,
            lambda run: run.rate("cram_accesses_total"),
        ),
        chart(
            "Faults",
            "All kinds. More for the same accesses: more pages were not where they were needed.",
            A_SECOND,
            lambda run: run.rate("cram_faults_total"),
        ),
        chart(
            "Fault time (p99)",
            "Wall time. Alike machines and loads only: this one measures the computer, too.",
            SECONDS,
            lambda run: f"max({run.agents('instance:cram_fault_seconds:p99_5m')})",
        ),
        chart(
            "Pressure",
            "What each run's device told it. Alike only if the devices were treated alike.",
            COUNT,
            lambda run: f"max({run.agents('cram_pressure')})",
        ),
        chart(
            "Media used",
            "By each run's region.",
            BYTES,
            lambda run: f"sum({run.region('cxldev_region_media_used_bytes')})",
        ),
        chart(
            "Ratio",
            "Bytes stored / media that they take, of each run's region.",
            COUNT,
            lambda run: (
                f"sum({run.region('cxldev_region_stored_pages')}) * 4096 / "
                f"clamp_min(sum({run.region('cxldev_region_media_used_bytes')}), 1)"
            ),
        ),
        chart(
            "Pages mapped writable",
            "The risk that each run took.",
            COUNT,
            lambda run: f"sum({run.agents('cram_writable_pages')})",
        ),
        chart(
            "In swap",
            "What the device could not keep.",
            BYTES,
            lambda run: f"sum({run.agents('cram_swap_used_bytes')})",
        ),
        states(
            "Node",
            "When each run's node took demotions.",
            *_both(lambda run: f"min({run.agents('cram_node_open')})"),
            words=words.OPEN,
        ),
        lines(
            "Event lag (p99)",
            "How fast each run acted on what its device told.",
            SECONDS,
            *_both(lambda run: f"max({run.agents('instance:cram_event_lag_seconds:p99_5m')})"),
            marks=[lag],
            colours=_COLOURS,
        ),
    ]

"""`[[expect]]` of a scenario file: read, and refused if it can never hold or means nothing."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NoReturn

from cramlab.scenario.expectation import (
    Bound,
    Comparison,
    EventPattern,
    Expectation,
    Figure,
    FigureExpectation,
    OrderExpectation,
    Window,
)
from cramlab.scenario.known import HISTOGRAM, known_metrics
from cramlab.scenario.measurements import EVENTS
from cramlab.scenario.model import DEVICE, Inject, KillHost
from cramlab.scenario.table import did_you_mean
from cramwire.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramlab.scenario.model import HostSpec, Step
    from cramlab.scenario.table import Table

_SELECTOR: Final = re.compile(r"\s*([a-z_]+)\s*(?:\{(.*)\})?\s*", re.ASCII)
_LABEL: Final = re.compile(r'\s*([a-z_]+)\s*=\s*"([^"]*)"\s*', re.ASCII)
_QUANTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d+)?)", re.ASCII)
_MULTIPLE: Final = re.compile(r"(\d+(?:\.\d+)?)x", re.ASCII)
_FIGURES: Final = ("last", "max", "min", "mean", "growth")


class ExpectReader:
    """Reads the expectations of one scenario; needs what they are about."""

    def __init__(self, hosts: Sequence[HostSpec], timeline: Sequence[Step], duration_ns: int) -> None:
        self._names = [host.name for host in hosts]
        self._groups: dict[str, list[str]] = {}
        for host in hosts:
            self._groups.setdefault(host.group, []).append(host.name)
        self._kinds = {step.action.kind for step in timeline if isinstance(step.action, Inject)}
        self._killed = {step.action.host for step in timeline if isinstance(step.action, KillHost)}
        self._duration_ns = duration_ns

    def read(self, table: Table) -> Expectation:
        """One expectation.

        Raises:
            ScenarioError: it names what does not exist, or cannot be judged.
        """
        that = table.text("that")
        if ("metric" in table) == ("comes" in table):
            table.fail("an expectation has either a `metric` and a bound, or `comes`: an event")
        expectation = self._figure(table, that) if "metric" in table else self._order(table, that)
        table.finish()
        return expectation

    # -- figures ----------------------------------------------------------------------------------

    def _figure(self, table: Table, that: str) -> FigureExpectation:
        metric, labels = self._selector(table)
        of = table.text("of", "last")
        if _QUANTILE.fullmatch(of):
            if known_metrics()[metric].kind != HISTOGRAM:
                table.fail(f"{metric} is no histogram: it has {', '.join(_FIGURES)}", "of")
        elif of not in _FIGURES:
            table.fail(f"{of!r} is none of {', '.join(_FIGURES)}, p50, p99, ...", "of")
        elif known_metrics()[metric].kind == HISTOGRAM and of != "mean":
            table.fail(
                f'{metric} is a histogram: ask for of = "p50", "p99", "mean", or for {metric}_count', "metric"
            )
        baseline = self._window(table.table("baseline")) if "baseline" in table else None
        return FigureExpectation(
            that=that,
            line=table.line(),
            figure=Figure(metric, labels, of),
            hosts=self._hosts(table, of_device=metric.startswith("cxldev_")),
            window=self._window(table),
            bounds=self._bounds(table, metric, baseline),
            baseline=baseline,
        )

    def _selector(self, table: Table) -> tuple[str, dict[str, str]]:
        """`name{label="value"}` as PromQL writes it, equality only."""
        text = table.text("metric")
        match = _SELECTOR.fullmatch(text)
        if match is None:
            table.fail(f'{text!r} is no metric: write cram_pages{{state="lost"}}', "metric")
        name, inside = match.groups(default="")
        known = known_metrics().get(name)
        if known is None:
            table.fail(f"there is no measurement {name!r}{did_you_mean(name, known_metrics())}", "metric")
        labels: dict[str, str] = {}
        for part in inside.split(",") if inside.strip() else []:
            pair = _LABEL.fullmatch(part)
            if pair is None:
                table.fail(f'{part.strip()!r} is no label: write state="lost"', "metric")
            label, value = pair.groups()
            if label not in known.labels:
                table.fail(f"{name} has no label {label!r}{did_you_mean(label, known.labels)}", "metric")
            values = self._names if label == "host" else known.labels[label]
            if value not in values:
                table.fail(f"{name} is never {label}={value!r}{did_you_mean(value, values)}", "metric")
            labels[label] = value
        return name, labels

    def _window(self, table: Table) -> Window:
        window = Window(table.duration("from", None), table.duration("until", None))
        for key, at in (("from", window.from_ns), ("until", window.until_ns)):
            if at is not None and at > self._duration_ns:
                table.fail("is after the scenario's end", key)
        if window.until_ns is not None and window.until_ns <= (window.from_ns or 0):
            table.fail("the window ends before it begins", "until")
        return window

    def _bounds(self, table: Table, metric: str, baseline: Window | None) -> tuple[Bound, ...]:
        bounds = tuple(
            _bound(table, comparison, metric, baseline)
            for comparison in Comparison
            if comparison.value in table
        )
        if not bounds:
            table.fail(f"no bound: give one of {', '.join(comparison.value for comparison in Comparison)}")
        if baseline is not None and not any(bound.times_baseline for bound in bounds):
            table.fail('a baseline needs a bound that is a multiple of it, as below = "2x"', "baseline")
        return bounds

    # -- events -----------------------------------------------------------------------------------

    def _order(self, table: Table, that: str) -> OrderExpectation:
        comes = self._pattern(table, "comes")
        never, within = table.flag("never"), table.duration("within", None)
        after = self._pattern(table, "after") if "after" in table else None
        if never and after == comes:
            table.fail("it comes with itself", "comes")
        return OrderExpectation(
            that=that,
            line=table.line(),
            after=after,
            comes=comes,
            hosts=self._hosts(table, of_device=EVENTS[comes.name].of_device),
            within_ns=within,
            never=never,
        )

    def _pattern(self, table: Table, key: str) -> EventPattern:
        """`name fact=value ...`."""
        name, *rest = table.text(key).split() or [""]
        if name not in EVENTS:
            table.fail(f"there is no event {name!r}{did_you_mean(name, EVENTS)}", key)
        facts: dict[str, str] = {}
        for part in rest:
            fact, _, value = part.partition("=")
            if fact not in EVENTS[name].facts or not value:
                known = [f"{each}=..." for each in EVENTS[name].facts]
                table.fail(f"{name} has no {part!r}{did_you_mean(part, known)}", key)
            # The timeline writes ratio-collapse, as the command line does; events say ratio_collapse.
            facts[fact] = value = value.replace("-", "_") if fact == "kind" else value
            values = EVENTS[name].values.get(fact)
            if values is not None and value not in values:
                table.fail(f"{name} is never {fact}={value!r}{did_you_mean(value, values)}", key)
        if "host" in facts and facts["host"] not in self._names:
            self._no_host(table, facts["host"], key)
        if name == "fault_armed" and "kind" in facts and facts["kind"] not in self._kinds:
            table.fail(f"the timeline injects no {facts['kind']!r}", key)
        if name == "host_killed" and not self._killed:
            table.fail("the timeline kills no host", key)
        return EventPattern(name, facts)

    # -- whose ------------------------------------------------------------------------------------

    def _hosts(self, table: Table, *, of_device: bool) -> tuple[str, ...]:
        if of_device:
            if table.text("host", DEVICE) != DEVICE:
                table.fail("it is the device's; of one host's region: name{host=\"...\"}", "host")
            return (DEVICE,)
        text = table.text("host", "*")
        found = self._groups.get(text) or [name for name in self._names if fnmatchcase(name, text)]
        if not found:
            self._no_host(table, text, "host")
        return tuple(found)

    def _no_host(self, table: Table, name: str, key: str) -> NoReturn:
        known = dict.fromkeys((*self._groups, *self._names))
        table.fail(f"there is no host {name!r}{did_you_mean(name, known)}", key)


def _bound(table: Table, comparison: Comparison, metric: str, baseline: Window | None) -> Bound:
    key = comparison.value
    bound = _read_bound(table, comparison, metric, baseline)
    if bound.value < 0:
        table.fail(f"{bound.text} can never be: no figure is below 0", key)
    if comparison is Comparison.BELOW and not bound.value:
        table.fail("nothing is below 0", key)
    return bound


def _read_bound(table: Table, comparison: Comparison, metric: str, baseline: Window | None) -> Bound:
    key = comparison.value
    value = table.raw(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        table.fail(f"{value!r} is no figure", key)
    if not isinstance(value, str):
        return Bound(comparison, float(value), text=f"{value:g}")
    if multiple := _MULTIPLE.fullmatch(value):
        if baseline is None:
            table.fail(f'{value} of what? Add baseline = {{ from = "1s", until = "5s" }}', key)
        return Bound(comparison, float(multiple[1]), times_baseline=True, text=value)
    if "_seconds" in metric:
        return Bound(comparison, table.parsed(key, parse_duration) / 1e9, text=value)
    if "_bytes" in metric:
        return Bound(comparison, float(table.parsed(key, parse_bytes)), text=value)
    return table.fail(f'{value!r} is neither a number nor a multiple ("2x"): {metric} has no unit', key)

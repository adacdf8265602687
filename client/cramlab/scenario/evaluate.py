"""The one judge of both engines: what was expected against what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cramlab.scenario.expectation import Figure, FigureExpectation, OrderExpectation, Window
from cramlab.scenario.figures import evaluate_figure
from cramlab.scenario.measurements import EVENTS
from cramlab.scenario.model import DEVICE
from cramwire.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cramlab.scenario.expectation import Bound, EventPattern, Expectation
    from cramlab.scenario.measurements import Event, Measurements, Outcome

_NO_WRONG_BYTE: Final = "no byte was read back wrong"
_NO_OWN_END: Final = "no host ended by itself"
"""Both hold in every scenario, said or not; but an end that is expected may come."""
_ENDED: Final = "host_ended"
_WRONG_PAGES: Final = Figure("cram_mismatched_pages_total")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one host, or the device, did about an expectation."""

    who: str
    holds: bool
    figure: float | None
    """In the metric's unit; of events, seconds from the one to the other. None: nothing was measured."""
    text: str
    """The same for people."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an expectation holds: for all whom it is about."""

    that: str
    line: int
    """In the scenario file; 0: what holds in every scenario."""
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """For everybody."""
        return all(finding.holds for finding in self.findings)


def evaluate(outcome: Outcome) -> tuple[Verdict, ...]:
    """A verdict on every expectation, in the file's order, and on what must always hold."""
    measured, scenario = outcome.measurements, outcome.scenario
    names = [host.name for host in scenario.hosts]
    return (
        Verdict(_NO_WRONG_BYTE, 0, tuple(_wrong_bytes(measured, name) for name in names)),
        Verdict(_NO_OWN_END, 0, tuple(_own_end(outcome, name) for name in names)),
        *(
            Verdict(expected.that, expected.line, tuple(_findings(expected, measured)))
            for expected in scenario.expectations
        ),
    )


def passed(outcome: Outcome, verdicts: tuple[Verdict, ...]) -> bool:
    """Everything holds, and nothing else went wrong."""
    return not outcome.problems and all(verdict.holds for verdict in verdicts)


def _findings(expected: Expectation, measured: Measurements) -> Iterator[Finding]:
    for who in expected.hosts:
        if isinstance(expected, FigureExpectation):
            yield _judge_figure(expected, measured, who)
        else:
            yield _judge_order(expected, measured, who)


# -- always --------------------------------------------------------------------------------------


def _wrong_bytes(measured: Measurements, who: str) -> Finding:
    pages = evaluate_figure(_WRONG_PAGES, measured, who, Window())
    if pages is None:
        return Finding(who, holds=False, figure=None, text="it never showed its metrics")
    return Finding(who, not pages, pages, f"{pages:g} pages wrong")


def _own_end(outcome: Outcome, who: str) -> Finding:
    ends = [event for event in outcome.measurements.events if event.who == who and event.name == _ENDED]
    is_expected = any(
        isinstance(expected, OrderExpectation)
        and expected.comes.name == _ENDED
        and not expected.never
        and who in expected.hosts
        for expected in outcome.scenario.expectations
    )
    reasons = ", ".join(event.facts.get("reason", "") for event in ends)
    text = f"ended by itself: {reasons}{', as expected' if is_expected else ''}" if ends else "it did not"
    return Finding(who, is_expected or not ends, None, text)


# -- figures --------------------------------------------------------------------------------------


def _judge_figure(expected: FigureExpectation, measured: Measurements, who: str) -> Finding:
    found = evaluate_figure(expected.figure, measured, who, expected.window)
    if found is None:
        return Finding(who, holds=False, figure=None, text="nothing was measured")
    base = None
    if expected.baseline is not None:
        base = evaluate_figure(expected.figure, measured, who, expected.baseline)
        if base is None:
            return Finding(
                who, holds=False, figure=found, text=f"{_shown(expected, found)}, and there is no baseline"
            )
    holds = all(_keeps(bound, found, base) for bound in expected.bounds)
    bounds = " and ".join(
        f"{bound.comparison.value.replace('_', ' ')} {bound.text}" for bound in expected.bounds
    )
    compared = ""
    if base is not None:
        compared = f" ({found / base:.2f}x of {_shown(expected, base)})" if base else " (of 0)"
    return Finding(who, holds, found, f"{_shown(expected, found)}{compared}, expected {bounds}")


def _keeps(bound: Bound, found: float, base: float | None) -> bool:
    if not bound.times_baseline:
        return bound.comparison.holds(found, bound.value)
    assert base is not None, "the reader wants a baseline for a multiple"
    return bound.comparison.holds(found, bound.value * base)


def _shown(expected: FigureExpectation, value: float) -> str:
    if "_seconds" in expected.figure.metric:
        return format_duration(value * 1e9)
    if "_bytes" in expected.figure.metric:
        return format_bytes(value)
    return f"{value:,.10g}"


# -- events ---------------------------------------------------------------------------------------


def _judge_order(expected: OrderExpectation, measured: Measurements, who: str) -> Finding:
    events = sorted(measured.events, key=lambda event: event.at_ns)
    since = None
    if expected.after is not None:
        since = _first_ns(expected.after, events, who)
        if since is None:
            return Finding(who, holds=False, figure=None, text=f"{expected.after} never happened")
        events = [event for event in events if event.at_ns >= since]
    came = _first_ns(expected.comes, events, who)
    if came is None:
        return Finding(who, expected.never, None, f"no {expected.comes}")
    lag_ns = came - (since or 0)
    text = f"{expected.comes} after {format_duration(lag_ns)}"
    in_time = expected.within_ns is None or lag_ns <= expected.within_ns
    wanted = "never" if expected.never else ""
    if expected.within_ns is not None:
        wanted += f" within {format_duration(expected.within_ns)}"
    return Finding(
        who,
        in_time is not expected.never,
        lag_ns / 1e9,
        f"{text}, expected {wanted.strip()}" if wanted else text,
    )


def _first_ns(pattern: EventPattern, events: Iterable[Event], who: str) -> int | None:
    """When it first happened: to the device, or to this host (another's is no cause of its own).

    To the device, any host's may be a cause.
    """
    of_any = who == DEVICE or EVENTS[pattern.name].of_device
    for event in events:
        if _is(pattern, event) and (of_any or event.who == who):
            return event.at_ns
    return None


def _is(pattern: EventPattern, event: Event) -> bool:
    return event.name == pattern.name and pattern.facts.items() <= event.facts.items()

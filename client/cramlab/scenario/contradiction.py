"""Expectations that cannot hold together: found before anything is run."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from cramlab.scenario.expectation import Comparison, FigureExpectation, OrderExpectation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cramlab.scenario.expectation import Bound, Expectation

_LOWER: Final = frozenset((Comparison.IS, Comparison.AT_LEAST, Comparison.ABOVE))
_UPPER: Final = frozenset((Comparison.IS, Comparison.AT_MOST, Comparison.BELOW))
_STRICT: Final = frozenset((Comparison.ABOVE, Comparison.BELOW))


def contradiction(expectations: Iterable[Expectation]) -> tuple[Expectation, Expectation] | None:
    """The first two (or one, twice) of which at most one can hold, in the file's order."""
    seen: list[Expectation] = []
    for later in expectations:
        for earlier in (*seen, later):
            if _cannot_both(earlier, later):
                return earlier, later
        seen.append(later)
    return None


def _cannot_both(one: Expectation, other: Expectation) -> bool:
    if isinstance(one, FigureExpectation) and isinstance(other, FigureExpectation):
        return _same_figure(one, other) and _nothing_between(one.bounds + other.bounds)
    if isinstance(one, OrderExpectation) and isinstance(other, OrderExpectation):
        # `never` of all time excludes `comes`; one within a time excludes what comes sooner.
        return (
            one.never != other.never
            and (one.after, one.comes) == (other.after, other.comes)
            and not set(one.hosts).isdisjoint(other.hosts)
            and _within(one if one.never else other) >= _within(other if one.never else one)
        )
    return False


def _same_figure(one: FigureExpectation, other: FigureExpectation) -> bool:
    return (one.figure, one.window) == (other.figure, other.window) and not set(one.hosts).isdisjoint(
        other.hosts
    )


def _nothing_between(bounds: tuple[Bound, ...]) -> bool:
    """Whether no figure keeps to all of them. Multiples of a baseline say nothing before the run."""
    fixed = [bound for bound in bounds if not bound.times_baseline]
    # With the bound, whether it excludes its own value: the strictest of equal ones counts.
    lower = max(
        ((bound.value, bound.comparison in _STRICT) for bound in fixed if bound.comparison in _LOWER),
        default=None,
    )
    upper = min(
        ((bound.value, bound.comparison not in _STRICT) for bound in fixed if bound.comparison in _UPPER),
        default=None,
    )
    if lower is None or upper is None:
        return False
    return lower[0] > upper[0] or (lower[0] == upper[0] and (lower[1] or not upper[1]))


def _within(order: OrderExpectation) -> float:
    return inf if order.within_ns is None else order.within_ns

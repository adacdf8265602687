"""What must have happened before the demo goes on: conditions on counters, never on time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramlab.demo.readings import Reading


@dataclass(frozen=True, slots=True)
class Look:
    """A need as it stands at one moment."""

    met: bool
    text: str
    """The need and the values it was judged by, in one line."""


@dataclass(frozen=True, slots=True)
class Need:
    """A condition on the values that `of` finds in a reading: one for each host, or one in all.

    It is met when every value lies within at_least..at_most (None: no bound on that side).
    """

    what: str
    of: Callable[[Reading], dict[str, int]]
    at_least: int | None = None
    at_most: int | None = None
    since_phase: bool = False
    """Judge how much each value has grown since the phase began, not the value."""

    def look(self, now: Reading, begun: Reading) -> Look:
        """Judge a reading; `begun` is the reading with which the phase began."""
        values = self.of(now)
        if self.since_phase:
            before = self.of(begun)
            values = {name: value - before.get(name, 0) for name, value in values.items()}
        met = bool(values) and all(self._within(value) for value in values.values())
        bounds = [
            *([f"at least {self.at_least:,}"] if self.at_least is not None else []),
            *([f"at most {self.at_most:,}"] if self.at_most is not None else []),
        ]
        since = " since the phase began" if self.since_phase else ""
        found = ", ".join(f"{name} {value:,}" for name, value in values.items()) or "nobody"
        return Look(met, f"{self.what}{since}: {' and '.join(bounds)} (now {found})")

    def _within(self, value: int) -> bool:
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


def of_each(field_name: str) -> Callable[[Reading], dict[str, int]]:
    """That field of every host's reading."""
    return lambda reading: {name: int(getattr(host, field_name)) for name, host in reading.hosts.items()}


def of_all(field_name: str) -> Callable[[Reading], dict[str, int]]:
    """The sum of that field over all hosts."""
    return lambda reading: {"all": sum(int(getattr(host, field_name)) for host in reading.hosts.values())}


def of_device(field_name: str) -> Callable[[Reading], dict[str, int]]:
    """That field of the device's reading."""
    return lambda reading: {"device": int(getattr(reading.device, field_name))}


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the demo: reached when all its needs are met at one moment."""

    key: str
    title: str
    deadline_s: float
    needs: tuple[Need, ...] = field(default_factory=tuple)

    def looks(self, now: Reading, begun: Reading) -> list[Look]:
        """All needs as they stand."""
        return [need.look(now, begun) for need in self.needs]


class PhaseNotReached(Exception):
    """The deadline passed first. The message names what was missing and the last values."""

    def __init__(self, phase: Phase, looks: list[Look]) -> None:
        missing = "; ".join(look.text for look in looks if not look.met)
        super().__init__(f"phase {phase.key!r} was not reached within {phase.deadline_s:g} s: {missing}")
        self.phase = phase

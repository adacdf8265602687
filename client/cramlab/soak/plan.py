"""What is done to hosts and device in a soak, and when: drawn from a seed alone, before anything starts.

The first half is the storm: the device goes and comes, too. From the middle on one device process
and the settled hosts live to the end, so that their memory can be judged; other hosts go on being
killed, and faults go on being armed. The last tenth is calm: whoever is gone comes back, and all
hosts are attached when they are asked to verify everything.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from cramlab.soak.troubles import TROUBLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cramlab.soak.troubles import Trouble

T = TypeVar("T")

FIRST_AT: Final = 0.05
"""Shares of the run: nothing is done before this one,"""
SETTLED_AT: Final = 0.5
"""from here on device and settled hosts live to the end,"""
CALM_AT: Final = 0.9
"""and from here on nobody is hurt any more."""
DEVICE_UNTIL: Final = 0.42
"""The device's last end. What it and the hosts need to be back is over by the middle."""
SETTLED_HOSTS: Final = 2

_AGENT_EVERY_S: Final = 4.0
_TROUBLE_EVERY_S: Final = 2.5
_DEVICE_EVERY_S: Final = 25.0
_LONGEST_AWAY_S: Final = 4.0
"""Longer than a lease: some hosts find their region trimmed, others take their session over."""


@dataclass(frozen=True, slots=True)
class EndAgent:
    """A host goes, and comes back."""

    host: str
    killed: bool
    """With SIGKILL, no goodbye; else SIGTERM: it verifies, detaches, reports."""
    away_s: float

    def __str__(self) -> str:
        return f"{'kill' if self.killed else 'stop'} {self.host}, back in {self.away_s:.1f} s"


@dataclass(frozen=True, slots=True)
class EndDevice:
    """The device goes, and is started again at once."""

    killed: bool
    """With SIGKILL: power lost; else SIGTERM: it drains."""

    def __str__(self) -> str:
        return f"{'kill' if self.killed else 'stop'} the device, and start it"


Action: TypeAlias = "EndAgent | EndDevice | Trouble"


@dataclass(frozen=True, slots=True)
class Step:
    """What is done so long after all hosts served."""

    at_s: float
    action: Action


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it. The same arguments of `draw_plan` give the same plan."""

    seconds: float
    hosts: tuple[str, ...]
    settled: tuple[str, ...]
    """Those that nobody ends in the second half."""
    steps: tuple[Step, ...]
    """In order."""

    @property
    def settled_at_s(self) -> float:
        """The middle."""
        return self.seconds * SETTLED_AT

    @property
    def calm_at_s(self) -> float:
        """When all faults are cleared."""
        return self.seconds * CALM_AT


def draw_plan(seconds: float, hosts: int, seed: int) -> Plan:
    """The plan of a soak.

    Args:
        seconds: how long it runs, from when all hosts serve until they verify.
        hosts: how many, at least one.
        seed: of all that is drawn.
    """
    draw = random.Random(seed)
    names = tuple(f"host-{number}" for number in range(1, hosts + 1))
    settled = names[: min(SETTLED_HOSTS, max(1, hosts // 2))]
    first, last = seconds * FIRST_AT, seconds * CALM_AT
    steps = [Step(at_s, action) for at_s, action in _ends_of_the_device(draw, seconds)]
    victims = _deck(draw, names)
    others = _deck(draw, names[len(settled) :] or names[:0])
    for at_s in _times(draw, first, last, _AGENT_EVERY_S):
        host = next(others if at_s >= seconds * DEVICE_UNTIL else victims, None)
        if host is not None:
            steps.append(Step(at_s, EndAgent(host, draw.random() < 0.7, draw.uniform(0.2, _LONGEST_AWAY_S))))
    troubles = _deck(draw, TROUBLES)
    for at_s in _times(draw, first, last, _TROUBLE_EVERY_S):
        make = next(troubles)
        steps.append(Step(at_s, make(draw, names)))
    return Plan(seconds, names, settled, tuple(sorted(steps, key=lambda step: step.at_s)))


def _ends_of_the_device(draw: random.Random, seconds: float) -> Iterator[tuple[float, EndDevice]]:
    """By turns with and without a goodbye; each at least once."""
    times = list(_times(draw, seconds * FIRST_AT, seconds * DEVICE_UNTIL, _DEVICE_EVERY_S, at_least=2))
    killed = draw.random() < 0.5
    for number, at_s in enumerate(times):
        yield at_s, EndDevice(killed ^ bool(number % 2))


def _times(
    draw: random.Random, first: float, last: float, every: float, *, at_least: int = 1
) -> Iterator[float]:
    """One in each of equal parts of the time, so that nothing comes in heaps only."""
    count = max(at_least, round((last - first) / every))
    part = (last - first) / count
    for number in range(count):
        yield first + part * (number + draw.random())


def _deck(draw: random.Random, cards: Sequence[T]) -> Iterator[T]:
    """Each card once in random order, and again: in a long run everything comes equally often."""
    while cards:
        yield from draw.sample(cards, len(cards))

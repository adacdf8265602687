"""The faults of a soak: each kind that hurts hosts, its settings drawn, each ending by itself.

Settings are written as for `cramctl inject`; what they mean stands in docs/faults.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from cramwire.fault_kinds import KINDS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from cramwire.v1 import operator_pb2

LEASE: Final = "2s"
"""Of every host of a soak. Some stalls of the control path outlast it, others do not."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault to inject."""

    name: str
    """As `cramctl inject` calls it."""
    settings: Mapping[str, str]
    """By the names of the options, without their dashes; "true" of a switch."""

    def __str__(self) -> str:
        return f"{self.name} " + " ".join(f"{name}={value}" for name, value in self.settings.items())

    @property
    def spoils(self) -> str | None:
        """The host that loses pages to this alone: the one that poison or flipped bits were meant for."""
        return self.settings.get("host")

    def message(self) -> operator_pb2.Fault:
        """For the wire."""
        from cramwire.fault_request import fault_message  # noqa: PLC0415 - loads grpc's parts; a plan needs none

        kind = KINDS[self.name.replace("-", "_")]
        fields = {field.name: field for field in (*kind.fields, *kind.scope)}
        values = {}
        for name, text in self.settings.items():
            field = fields[name]
            values[field.key] = [field.unit.parse(text)] if field.many else field.unit.parse(text)
        return fault_message(kind.kind, values)


Maker: TypeAlias = "Callable[[random.Random, Sequence[str]], Trouble]"


def _held(name: str, shortest_s: float, longest_s: float, **settings: str) -> Maker:
    """A fault on all hosts that is armed for a drawn time."""

    def make(draw: random.Random, hosts: Sequence[str]) -> Trouble:  # noqa: ARG001 - it meets all of them
        return Trouble(name, {**settings, "for": _seconds(draw.uniform(shortest_s, longest_s))})

    return make


def _drawing(name: str, share: str, longest_s: float, **settings: str) -> Maker:
    """A fault that meets a share of the commands, with a seed of its own."""

    def make(draw: random.Random, hosts: Sequence[str]) -> Trouble:  # noqa: ARG001 - it meets all of them
        seed = str(draw.getrandbits(32))
        until = _seconds(draw.uniform(0.5, longest_s))
        return Trouble(name, {**settings, "of": share, "seed": seed, "for": until})

    return make


def _spoiling(name: str, **settings: str) -> Maker:
    """Pages of one host are spoiled at once."""

    def make(draw: random.Random, hosts: Sequence[str]) -> Trouble:
        few = str(draw.randint(1, 8))
        seed = str(draw.getrandbits(32))
        return Trouble(name, {"host": draw.choice(hosts), "random": few, "seed": seed, **settings})

    return make


def _reset(draw: random.Random, hosts: Sequence[str]) -> Trouble:  # noqa: ARG001 - a maker's signature
    return Trouble("reset", {})


def _seconds(value: float) -> str:
    return f"{round(value * 1000)}ms"


TROUBLES: Final[tuple[Maker, ...]] = (
    # Twice: running out of media is what the bench is for.
    _held("exhaustion", 0.5, 3, share="1.0"),
    _held("exhaustion", 1, 4, share="0.9", ramp="1s"),
    _held("ratio-collapse", 1, 3, ratio="1.1"),
    _held("read-only-media", 0.2, 1),
    _held("stuck-trim", 0.5, 2, delay="500ms"),
    _held("flush-hang", 0.5, 2, delay="500ms"),
    _held("latency", 1, 3, wall="1ms", tail="0.05", **{"wall-tail": "50ms"}),
    _drawing("refused-command", "0.2", 3, only="write"),
    _held("control-stall", 0.3, 1, delay="500ms"),
    # Longer than a lease: sessions end under it.
    _held("control-stall", 2.5, 3.5),
    _drawing("unanswered-command", "0.05", 2, count="3", only="write"),
    _drawing("unanswered-command", "0.05", 2, count="3", only="read", **{"carried-out": "true"}),
    _drawing("dropped-connection", "0.05", 2, count="3"),
    _drawing("event", "0.5", 3, trouble="lost"),
    _drawing("event", "0.5", 3, trouble="late", delay="300ms"),
    _drawing("event", "0.5", 3, trouble="duplicated"),
    _drawing("event", "0.5", 3, trouble="reordered"),
    _spoiling("poison"),
    _spoiling("bit-flip"),
    _reset,
)
"""All of them; each draws its settings, given a source of chance and the hosts."""

"""Latency: data commands take longer, by a fixed time, by chance, and now and then by very much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from cxldev.errors import InvalidField
from cxldev.faults.layer import Aspect, Delay, HeldFault, Layer
from cxldev.faults.scope import DATA, EVERY_OPERATION

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig
    from cxldev.faults.scope import Command, Operation

_LONGEST_NS: Final = 3_600_000_000_000
"""One hour: no command is meant to be lost for good by this fault."""


@dataclass(frozen=True, slots=True)
class LatencyFault(HeldFault):
    """Add to data commands: device time that is reported, wall time that is waited for.

    Each command takes the fixed time, between nothing and the jitter more, evenly drawn, and, `tail_milli`
    of 1000 commands, the tail on top of that.
    """

    kind: ClassVar[str] = "latency"
    aspect: ClassVar[Aspect] = Aspect.DELAY
    operations: ClassVar[frozenset[Operation]] = DATA
    scope_fields: ClassVar[frozenset[str]] = EVERY_OPERATION

    device_ns: int = 0
    """0 .. one hour, as all times here."""
    wall_ns: int = 0
    device_jitter_ns: int = 0
    wall_jitter_ns: int = 0
    tail_milli: int = 0
    """0..1000 per mille."""
    device_tail_ns: int = 0
    wall_tail_ns: int = 0

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        HeldFault.check(self, config)
        times = {
            name: getattr(self, name)
            for name in (
                "device_ns",
                "wall_ns",
                "device_jitter_ns",
                "wall_jitter_ns",
                "device_tail_ns",
                "wall_tail_ns",
            )
        }
        for name, value in times.items():
            if not 0 <= value <= _LONGEST_NS:
                raise InvalidField(f"latency {name} of {value}: it is 0..{_LONGEST_NS}")
        if not any(times.values()):
            raise InvalidField("latency takes device_ns or wall_ns, or both; as fixed time, jitter or tail")
        if not 0 <= self.tail_milli <= 1000:
            raise InvalidField(f"latency tail_milli of {self.tail_milli}: it is 0..1000")
        if bool(self.tail_milli) != bool(self.device_tail_ns or self.wall_tail_ns):
            raise InvalidField("latency takes tail_milli and a tail time together, or neither")

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _LatencyLayer(self, fault_id, armed_ns)


class _LatencyLayer(Layer):
    """Fired: commands that were delayed."""

    def __init__(self, fault: LatencyFault, fault_id: str, armed_ns: int) -> None:
        super().__init__(fault, fault_id, armed_ns)
        self._fault = fault

    def delay(self, command: Command, delay: Delay) -> Delay:
        del command
        fault, draw = self._fault, self.random.integers
        device_ns = fault.device_ns + int(draw(fault.device_jitter_ns + 1))
        wall_ns = fault.wall_ns + int(draw(fault.wall_jitter_ns + 1))
        if fault.tail_milli and draw(1000) < fault.tail_milli:
            device_ns += fault.device_tail_ns
            wall_ns += fault.wall_tail_ns
        if not device_ns and not wall_ns:
            return delay
        self.fired += 1
        return Delay(delay.device_ns + device_ns, delay.wall_ns + wall_ns)

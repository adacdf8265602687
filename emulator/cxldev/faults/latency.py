"""Latency: data commands take longer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from cxldev.errors import InvalidField
from cxldev.faults.layer import Command, Delay, Layer

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig

_LONGEST_NS: Final = 3_600_000_000_000
"""One hour: no command is meant to be lost for good by this fault."""


@dataclass(frozen=True, slots=True)
class LatencyFault:
    """Add to every data command: device time that is reported, wall time that is waited for."""

    kind: ClassVar[str] = "latency"

    device_ns: int = 0
    """0 .. one hour."""
    wall_ns: int = 0
    """0 .. one hour."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        del config
        for name, value in (("device_ns", self.device_ns), ("wall_ns", self.wall_ns)):
            if not 0 <= value <= _LONGEST_NS:
                raise InvalidField(f"latency {name} of {value}: it is 0..{_LONGEST_NS}")
        if not self.device_ns and not self.wall_ns:
            raise InvalidField("latency takes device_ns or wall_ns, or both")

    def layer(self) -> Layer:
        """What this does while it is armed."""
        return _LatencyLayer(self)


class _LatencyLayer(Layer):
    """Fired: commands that were delayed."""

    kind = LatencyFault.kind

    def __init__(self, fault: LatencyFault) -> None:
        super().__init__()
        self._fault = fault

    def delay(self, command: Command, delay: Delay) -> Delay:
        del command
        self.fired += 1
        return Delay(delay.device_ns + self._fault.device_ns, delay.wall_ns + self._fault.wall_ns)

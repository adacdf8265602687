"""What the faults have in common that make a command wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from cxldev.errors import InvalidField
from cxldev.faults.layer import Aspect, HeldFault, Layer

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig
    from cxldev.faults.hold import Hold
    from cxldev.faults.scope import Command

_LONGEST_NS: Final = 31 * 24 * 3_600_000_000_000
"""A month."""


@dataclass(frozen=True, slots=True)
class PausingFault(HeldFault):
    """Commands wait for so long, or until the fault is not armed any more, whichever is first."""

    aspect: ClassVar[Aspect] = Aspect.HOLD

    delay_ns: int = 0
    """0: until the fault is cleared."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        HeldFault.check(self, config)
        if not 0 <= self.delay_ns <= _LONGEST_NS:
            raise InvalidField(f"{self.kind} delay_ns of {self.delay_ns}: it is 0..{_LONGEST_NS}")

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _PausingLayer(self, fault_id, armed_ns)


class _PausingLayer(Layer):
    """Fired: commands that were made to wait."""

    def __init__(self, fault: PausingFault, fault_id: str, armed_ns: int) -> None:
        super().__init__(fault, fault_id, armed_ns)
        self._delay_ns = fault.delay_ns

    def hold(self, command: Command, from_ns: int) -> Hold:
        del command
        self.fired += 1
        return self.holding(from_ns + self._delay_ns if self._delay_ns else None)

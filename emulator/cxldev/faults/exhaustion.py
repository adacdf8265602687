"""Exhaustion: media is held back from the hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from cxldev.errors import InvalidField
from cxldev.faults.layer import Aspect, HeldFault, Layer

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig

_STEPS: Final = 256
"""Of a ramp."""
_SHORTEST_STEP_NS: Final = 1_000_000
"""Each step costs a look at the device."""
_LONGEST_RAMP_NS: Final = 31 * 24 * 3_600_000_000_000
"""A month."""


@dataclass(frozen=True, slots=True)
class ExhaustionFault(HeldFault):
    """Hold back this much media: exactly one of the two, at once or little by little.

    What is not free now is taken as it becomes free. Several such faults add up, to all of the media at most.
    """

    kind: ClassVar[str] = "exhaustion"
    aspect: ClassVar[Aspect] = Aspect.MEDIA
    scope_fields: ClassVar[frozenset[str]] = frozenset({"count", "duration_ns"})

    bytes: int | None = None
    """1..physical capacity."""
    share_milli: int | None = None
    """Of the physical capacity, 1..1000 per mille."""
    ramp_ns: int = 0
    """Held back in equal steps over this time; 0: at once."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        HeldFault.check(self, config)
        if (self.bytes is None) == (self.share_milli is None):
            raise InvalidField("exhaustion takes either bytes or share_milli, and exactly one of them")
        if self.bytes is not None and not 1 <= self.bytes <= config.physical_capacity_bytes:
            raise InvalidField(
                f"exhaustion of {self.bytes} bytes: it is 1..{config.physical_capacity_bytes}, the physical "
                "capacity"
            )
        if self.share_milli is not None and not 1 <= self.share_milli <= 1000:
            raise InvalidField(f"exhaustion of {self.share_milli} per mille: it is 1..1000")
        if not 0 <= self.ramp_ns <= _LONGEST_RAMP_NS:
            raise InvalidField(f"exhaustion ramp_ns of {self.ramp_ns}: it is 0..{_LONGEST_RAMP_NS}")

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _ExhaustionLayer(self, fault_id, armed_ns)


class _ExhaustionLayer(Layer):
    """Fired: pages that found no room while this held media back, and times that it took what came free."""

    def __init__(self, fault: ExhaustionFault, fault_id: str, armed_ns: int) -> None:
        super().__init__(fault, fault_id, armed_ns)
        self._fault = fault
        self._step_ns = max(fault.ramp_ns // _STEPS, _SHORTEST_STEP_NS)
        self._ramped_ns = 0 if fault.ramp_ns else 1
        """Of the ramp, in whole steps: what is held back changes in `advance` only."""

    def advance(self, now_ns: int) -> int | None:
        ends_ns, ramp_ns = super().advance(now_ns), self._fault.ramp_ns
        if self._ramped_ns >= max(ramp_ns, 1):
            return ends_ns
        passed_ns = now_ns - self.armed_ns
        steps = passed_ns // self._step_ns
        self._ramped_ns = ramp_ns if passed_ns >= ramp_ns else steps * self._step_ns
        if self._ramped_ns == ramp_ns:
            return ends_ns
        next_ns = self.armed_ns + min((steps + 1) * self._step_ns, ramp_ns)
        return next_ns if ends_ns is None else min(next_ns, ends_ns)

    def held_back_bytes(self, physical_bytes: int) -> int:
        whole = self._fault.bytes
        if whole is None:
            whole = physical_bytes * (self._fault.share_milli or 0) // 1000
        return whole * self._ramped_ns // max(self._fault.ramp_ns, 1)

    def turned_away(self, pages: int) -> None:
        self.fired += pages

    def took_freed(self) -> None:
        self.fired += 1

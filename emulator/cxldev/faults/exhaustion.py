"""Exhaustion: media is held back from the hosts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.errors import InvalidField
from cxldev.faults.layer import Layer

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig


@dataclass(frozen=True, slots=True)
class ExhaustionFault:
    """Hold back this much media: exactly one of the two.

    What is not free now is taken as it becomes free. Several such faults add up, to all of the media at most.
    """

    kind: ClassVar[str] = "exhaustion"

    bytes: int | None = None
    """1..physical capacity."""
    share_milli: int | None = None
    """Of the physical capacity, 1..1000 per mille."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        if (self.bytes is None) == (self.share_milli is None):
            raise InvalidField("exhaustion takes either bytes or share_milli, and exactly one of them")
        if self.bytes is not None and not 1 <= self.bytes <= config.physical_capacity_bytes:
            raise InvalidField(
                f"exhaustion of {self.bytes} bytes: it is 1..{config.physical_capacity_bytes}, the physical "
                "capacity"
            )
        if self.share_milli is not None and not 1 <= self.share_milli <= 1000:
            raise InvalidField(f"exhaustion of {self.share_milli} per mille: it is 1..1000")

    def layer(self) -> Layer:
        """What this does while it is armed."""
        return _ExhaustionLayer(self)


class _ExhaustionLayer(Layer):
    """Fired: pages that found no room while this held media back."""

    kind = ExhaustionFault.kind

    def __init__(self, fault: ExhaustionFault) -> None:
        super().__init__()
        self._fault = fault

    def held_back_bytes(self, physical_bytes: int) -> int:
        if self._fault.bytes is not None:
            return self._fault.bytes
        return physical_bytes * (self._fault.share_milli or 0) // 1000

    def turned_away(self, pages: int) -> None:
        self.fired += pages

"""Reset: power is lost and comes back; nothing is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig


@dataclass(frozen=True, slots=True)
class ResetFault:
    """A new generation begins, at once. Armed faults stay armed."""

    kind: ClassVar[str] = "reset"

    def check(self, config: DeviceConfig) -> None:
        """Any device can be reset."""
        del config

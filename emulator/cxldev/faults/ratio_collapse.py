"""Ratio collapse: pages compress worse than they would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from cxldev.config import PAGE_BYTES
from cxldev.errors import InvalidField
from cxldev.faults.layer import Aspect, HeldFault, Layer
from cxldev.faults.scope import EVERYWHERE_AT, Operation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.faults.scope import Command

_LARGEST_MILLI: Final = 64_000
"""64:1, the largest ratio that a device may assume."""


@dataclass(frozen=True, slots=True)
class RatioCollapseFault(HeldFault):
    """Pages written from now on take no less media than this ratio gives. Same-filled pages too.

    The ratio counts sectors, not metadata. Pages that are stored already keep what they have.
    """

    kind: ClassVar[str] = "ratio_collapse"
    aspect: ClassVar[Aspect] = Aspect.STORE
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.WRITE, Operation.DRAIN})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE_AT

    ratio_milli: int
    """1000 (nothing is saved) .. 64000 per mille."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        HeldFault.check(self, config)
        if not 1000 <= self.ratio_milli <= _LARGEST_MILLI:
            raise InvalidField(
                f"ratio collapse to {self.ratio_milli} per mille: it is 1000..{_LARGEST_MILLI}"
            )

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _RatioCollapseLayer(self, fault_id, armed_ns)


class _RatioCollapseLayer(Layer):
    """Fired: pages that were stored with more sectors than they would have."""

    def __init__(self, fault: RatioCollapseFault, fault_id: str, armed_ns: int) -> None:
        super().__init__(fault, fault_id, armed_ns)
        self._ratio_milli = fault.ratio_milli

    def sectors_for(
        self, command: Command, sectors: NDArray[np.int64], sector_bytes: int
    ) -> NDArray[np.int64]:
        # Both divisions round up: "no less".
        least = -(-PAGE_BYTES * 1000 // (self._ratio_milli * sector_bytes))
        return np.where(command.within(self.fault.scope.dpas), np.maximum(sectors, least), sectors)

    def stored(self, changed_pages: int) -> None:
        self.fired += changed_pages

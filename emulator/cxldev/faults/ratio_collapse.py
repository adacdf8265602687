"""Ratio collapse: pages compress worse than they would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from cxldev.config import PAGE_BYTES
from cxldev.errors import InvalidField
from cxldev.faults.layer import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig

_LARGEST_MILLI: Final = 64_000
"""64:1, the largest ratio that a device may assume."""


@dataclass(frozen=True, slots=True)
class RatioCollapseFault:
    """Pages written from now on take no less media than this ratio gives. Same-filled pages too.

    The ratio counts sectors, not metadata. Pages that are stored already keep what they have.
    """

    kind: ClassVar[str] = "ratio_collapse"

    ratio_milli: int
    """1000 (nothing is saved) .. 64000 per mille."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        del config
        if not 1000 <= self.ratio_milli <= _LARGEST_MILLI:
            raise InvalidField(
                f"ratio collapse to {self.ratio_milli} per mille: it is 1000..{_LARGEST_MILLI}"
            )

    def layer(self) -> Layer:
        """What this does while it is armed."""
        return _RatioCollapseLayer(self)


class _RatioCollapseLayer(Layer):
    """Fired: pages that were stored with more sectors than they would have."""

    kind = RatioCollapseFault.kind

    def __init__(self, fault: RatioCollapseFault) -> None:
        super().__init__()
        self._fault = fault

    def sectors_for(self, sectors: NDArray[np.int64], sector_bytes: int) -> NDArray[np.int64]:
        return np.maximum(sectors, self._least(sector_bytes))

    def stored(self, sectors: NDArray[np.int64], sector_bytes: int) -> None:
        self.fired += int(np.count_nonzero(sectors < self._least(sector_bytes)))

    def _least(self, sector_bytes: int) -> int:
        # Both divisions round up: "no less".
        return -(-PAGE_BYTES * 1000 // (self._fault.ratio_milli * sector_bytes))

"""Staging overflow: writes that were acknowledged are lost between staging buffer and media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cxldev.errors import InvalidField
from cxldev.faults.layer import Aspect, HeldFault, Layer
from cxldev.faults.scope import EVERYWHERE_AT, Operation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.faults.scope import Command


@dataclass(frozen=True, slots=True)
class StagingOverflowFault(HeldFault):
    """Staged pages turn into latent poison when they are drained: the host had its answer long before."""

    kind: ClassVar[str] = "staging_overflow"
    aspect: ClassVar[Aspect] = Aspect.DRAIN
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.DRAIN})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE_AT

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        HeldFault.check(self, config)
        if not config.staging.bytes:
            raise InvalidField("staging_overflow: this device has no staging buffer (cxldevd --staging)")

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _StagingOverflowLayer(self, fault_id, armed_ns)


class _StagingOverflowLayer(Layer):
    """Fired: pages that were lost."""

    def lost_in_drain(self, command: Command, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
        more = command.within(self.fault.scope.dpas) & ~lost
        if self.left is not None:
            more &= np.cumsum(more) <= self.left
        self.fired += int(np.count_nonzero(more))
        return lost | more

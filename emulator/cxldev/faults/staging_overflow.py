"""Staging overflow: writes that were acknowledged are lost between staging buffer and media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from cxldev.faults.layer import Aspect, HeldFault, Layer
from cxldev.faults.scope import EVERYWHERE_AT, Operation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.faults.scope import Command


@dataclass(frozen=True, slots=True)
class StagingOverflowFault(HeldFault):
    """Staged pages turn into latent poison when they are drained: the host had its answer long before."""

    kind: ClassVar[str] = "staging_overflow"
    aspect: ClassVar[Aspect] = Aspect.DRAIN
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.DRAIN})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE_AT

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _StagingOverflowLayer(self, fault_id, armed_ns)


class _StagingOverflowLayer(Layer):
    """Fired: pages that were lost."""

    def lost_in_drain(self, command: Command) -> NDArray[np.bool_]:
        lost = command.within(self.fault.scope.dpas)
        left = self.left
        if left is not None:
            lost &= np.cumsum(lost) <= left
        self.fired += int(np.count_nonzero(lost))
        return lost

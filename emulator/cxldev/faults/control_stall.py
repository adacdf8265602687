"""Control stall: the control path does not move while the data path runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cxldev.faults.pausing import PausingFault
from cxldev.faults.scope import CONTROL, EVERYWHERE, Operation


@dataclass(frozen=True, slots=True)
class ControlStallFault(PausingFault):
    """Control commands are taken up so much later. Leases run out by the device's clock meanwhile."""

    kind: ClassVar[str] = "control_stall"
    operations: ClassVar[frozenset[Operation]] = CONTROL
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE | {"operations"}

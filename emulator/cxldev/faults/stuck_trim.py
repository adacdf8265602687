"""Stuck TRIM: trimmed pages read as zeros, and their media does not come back, or late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cxldev.faults.pausing import PausingFault
from cxldev.faults.scope import EVERYWHERE_AT, Operation


@dataclass(frozen=True, slots=True)
class StuckTrimFault(PausingFault):
    """The media of TRIMs comes back so much later than the TRIM delay says.

    The queue of a region is released in order: a TRIM that is stuck holds up those behind it, and the FLUSH
    that waits for them.
    """

    kind: ClassVar[str] = "stuck_trim"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.TRIM})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE_AT

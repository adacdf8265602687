"""FLUSH hang: a FLUSH is not answered although everything before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cxldev.faults.pausing import PausingFault
from cxldev.faults.scope import EVERYWHERE, Operation


@dataclass(frozen=True, slots=True)
class FlushHangFault(PausingFault):
    """A FLUSH takes at least so long. Media comes back as ever; only the answer waits."""

    kind: ClassVar[str] = "flush_hang"
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.FLUSH})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE

"""Read-only media: what is stored can be read and trimmed; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.faults.layer import Aspect, HeldFault, Layer
from cxldev.faults.scope import EVERYWHERE_AT, Operation

if TYPE_CHECKING:
    from cxldev.faults.scope import Command


@dataclass(frozen=True, slots=True)
class ReadOnlyMediaFault(HeldFault):
    """The first page of a write that the media does not take ends it, as one that does not fit would.

    Pages before it are stored, it and the rest keep their bytes, whatever the exhaustion mode. Reads and
    TRIMs go on.
    """

    kind: ClassVar[str] = "read_only_media"
    aspect: ClassVar[Aspect] = Aspect.STORE
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.WRITE})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE_AT

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _ReadOnlyMediaLayer(self, fault_id, armed_ns)


class _ReadOnlyMediaLayer(Layer):
    """Fired: pages that were refused."""

    def writable(self, command: Command) -> int:
        within = command.within(self.fault.scope.dpas)
        return int(within.argmax()) if within.any() else command.pages

    def turned_back(self, pages: int) -> None:
        self.fired += pages

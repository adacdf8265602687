"""Refused command: the device does not take a command up, and says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.errors import CommandRefused
from cxldev.faults.layer import Aspect, HeldFault, Layer
from cxldev.faults.scope import CONTROL, DATA, EVERY_OPERATION

if TYPE_CHECKING:
    from cxldev.faults.loss import Loss
    from cxldev.faults.scope import Command, Operation


@dataclass(frozen=True, slots=True)
class RefusedCommandFault(HeldFault):
    """Commands end with an error. Nothing of them is done; they may be tried again."""

    kind: ClassVar[str] = "refused_command"
    aspect: ClassVar[Aspect] = Aspect.ANSWER
    operations: ClassVar[frozenset[Operation]] = DATA | CONTROL
    scope_fields: ClassVar[frozenset[str]] = EVERY_OPERATION

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _RefusedCommandLayer(self, fault_id, armed_ns)


class _RefusedCommandLayer(Layer):
    """Fired: commands that were refused."""

    def arrive(self, command: Command) -> Loss | None:
        self.fired += 1
        raise CommandRefused(
            f"the device refuses this {command.operation.value} (an armed fault): nothing of it was done; "
            "try again"
        )

"""What the faults have in common that let no answer arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.faults.layer import Aspect, HeldFault, Layer
from cxldev.faults.loss import Loss
from cxldev.faults.scope import CONTROL, DATA, EVERY_OPERATION

if TYPE_CHECKING:
    from cxldev.errors import CommandLost
    from cxldev.faults.scope import Command, Operation


@dataclass(frozen=True, slots=True)
class LosingFault(HeldFault):
    """The host does not hear what became of a command."""

    aspect: ClassVar[Aspect] = Aspect.ANSWER
    operations: ClassVar[frozenset[Operation]] = DATA | CONTROL
    scope_fields: ClassVar[frozenset[str]] = EVERY_OPERATION
    error: ClassVar[type[CommandLost]]

    carried_out: bool = False
    """Whether the command is carried out all the same."""

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _LosingLayer(self, fault_id, armed_ns)


class _LosingLayer(Layer):
    """Fired: commands whose host heard nothing."""

    def __init__(self, fault: LosingFault, fault_id: str, armed_ns: int) -> None:
        super().__init__(fault, fault_id, armed_ns)
        self._fault = fault

    def arrive(self, command: Command) -> Loss | None:
        del command
        self.fired += 1
        loss = Loss(self._fault.error, self.fault_id)
        if not self._fault.carried_out:
            loss.happen(carried_out=False)
        return loss

"""Any fault by its name, armed at once and cleared when a `with` block is left."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from cramctl.operator import Operator, OperatorError
from cramwire.v1 import operator_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message


class InjectedFault:
    """A fault that was injected. Leaving its `with` block clears it, unless it was done at once."""

    def __init__(self, operator: Operator, kind: str, said: pb.InjectFaultResponse) -> None:
        self._operator = operator
        self.kind = kind
        self.fault_id = said.fault_id
        """By which `cramctl` knows it; empty where nothing stays armed (poison, reset)."""
        self.dpas = tuple(said.dpas)
        """Pages that it hit, where it says so."""

    @property
    def fired(self) -> int:
        """How often it changed something so far.

        Raises:
            OperatorError: it is not armed any more.
        """
        for armed in self._operator.faults():
            if armed.fault_id == self.fault_id:
                return armed.fired
        raise OperatorError(f"{self.kind} {self.fault_id} is not armed")

    def clear(self) -> None:
        """Disarm it. Nothing happens if it is not armed any more."""
        if self.fault_id and any(armed.fault_id == self.fault_id for armed in self._operator.faults()):
            self._operator.clear(self.fault_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()


def fault_of(kind: str, settings: Mapping[str, Any]) -> pb.Fault:
    """The message that arms it: the fields of its message in `operator.proto`, by name.

    Raises:
        ValueError: there is no such kind, or no such field, or the field cannot have the value.
    """
    kind = kind.replace("-", "_")
    kinds = [one.name for one in pb.Fault.DESCRIPTOR.oneofs_by_name["kind"].fields]
    if kind not in kinds:
        raise ValueError(f"there is no fault {kind!r}{_meant(kind, kinds)}; there are: {', '.join(kinds)}")
    fault = pb.Fault()
    target: Message = getattr(fault, kind)
    # Marks an empty message, such as reset, as the one that is meant.
    target.SetInParent()
    known = [one.name for one in target.DESCRIPTOR.fields]
    for name, value in settings.items():
        if name not in known:
            raise ValueError(
                f"{kind} has no {name!r}{_meant(name, known)}; it has: {', '.join(known) or 'nothing'}"
            )
        try:
            if isinstance(value, (tuple, list)):
                getattr(target, name).extend(value)
            else:
                setattr(target, name, value)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{kind}: {name} cannot be {value!r}: {error}") from error
    return fault


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

"""Any fault by its name, armed at once and cleared when a `with` block is left."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from cramctl.operator import Operator, OperatorError
from cramwire.fault_kinds import KINDS, RATIO, SHARE
from cramwire.fault_request import fault_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cramwire.fault_kinds import Field
    from cramwire.v1 import operator_pb2 as pb


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
    """The message that arms it, by the table of kinds: names are those of `cramctl inject KIND`.

    Values are written as there ("1ms", "48MiB", 0.5), or given as ns and bytes.

    Raises:
        ValueError: there is no such kind or setting, or it cannot have this value.
    """
    kind = kind.replace("-", "_")
    if kind not in KINDS:
        raise ValueError(f"there is no fault {kind!r}{_meant(kind, KINDS)}; there are: {', '.join(KINDS)}")
    known = {field.key: field for field in (*KINDS[kind].fields, *KINDS[kind].scope)}
    values = {}
    for name, value in settings.items():
        # Where Python has a keyword of that name: for_="3s".
        key = name.rstrip("_")
        if key not in known:
            has = ", ".join(known) or "nothing"
            raise ValueError(f"{kind} has no {key!r}{_meant(key, known)}; it has: {has}")
        try:
            values[key] = _read(known[key], value)
        except ValueError as error:
            raise ValueError(f"{kind}: {key}: {error}") from None
    return fault_message(kind, values)


def _read(field: Field, value: Any) -> Any:
    if field.many:
        several = value if isinstance(value, (list, tuple)) else [value]
        return [_read(replace(field, many=False), one) for one in several]
    as_written = isinstance(value, str) or field.unit in {SHARE, RATIO}
    return field.unit.parse(str(value)) if as_written else value


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

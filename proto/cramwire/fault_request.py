"""A fault's message from values that people gave, by the table of kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cramwire.fault_kinds import KINDS
from cramwire.v1 import operator_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.message import Message

    from cramwire.fault_kinds import Field


def fault_message(kind: str, values: Mapping[str, Any]) -> operator_pb2.Fault:
    """The message of a fault.

    Args:
        kind: a key of `KINDS`.
        values: by the fields' keys, as their units' `parse` gives them; what is absent is not set. Lists
            where a field can be given several times.

    Raises:
        ValueError: one line: a field that the kind does not have, one that is missing, or two that exclude
            each other.
    """
    known = KINDS[kind]
    fields = {field.key: field for field in (*known.fields, *known.scope)}
    if strange := sorted(values.keys() - fields.keys()):
        raise ValueError(f"{known.name} has no {strange[0]}: it has {', '.join(fields) or 'no settings'}")
    if known.one_of and sum(key in values for key in known.one_of) != 1:
        raise ValueError(f"{known.name} takes exactly one of {_named(known.one_of)}")
    if known.any_of and not any(key in values for key in known.any_of):
        raise ValueError(f"{known.name} takes at least one of {_named(known.any_of)}")
    for field in known.fields:
        if field.required and field.key not in values:
            raise ValueError(f"{known.name} needs {field.name}")
        if field.key in values and field.goes_with and field.goes_with not in values:
            raise ValueError(f"{known.name} takes {field.name} with {field.goes_with} only")
    fault = operator_pb2.Fault()
    target = getattr(fault, kind)
    # Marks an empty message, such as reset, as the one that is meant.
    target.SetInParent()
    for field in known.fields:
        if field.key in values:
            _put(target, field, values[field.key])
    for field in known.scope:
        if field.key in values:
            _put(fault.scope, field, values[field.key])
    return fault


def _named(keys: Iterable[str]) -> str:
    """Settings as people write them: with dashes."""
    return ", ".join(key.replace("_", "-") for key in keys)


def _put(target: Message, field: Field, value: Any) -> None:
    if field.field == "range":
        start, length = value
        target.range.start, target.range.length = start, length  # type: ignore[attr-defined]  # FaultScope has it
    elif field.field == "operations":
        names = (f"OPERATION_{name.upper()}" for name in value)
        target.operations.extend(operator_pb2.Operation.Value(name) for name in names)  # type: ignore[attr-defined]  # as above
    elif field.field == "trouble":
        setattr(target, field.field, operator_pb2.EventTrouble.Value(f"EVENT_TROUBLE_{value.upper()}"))
    elif field.many:
        getattr(target, field.field).extend(value)
    else:
        setattr(target, field.field, value)

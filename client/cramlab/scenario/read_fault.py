"""Faults of a scenario's timeline: every kind of the operator's wire, with its fields.

A field's unit is in its name: `device_ns` is written `device = "1us"`, `share_milli` is `share = 0.5`,
`bytes` is `bytes = "4MiB"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cramctl.options import MILLI
from cramlab.scenario.table import did_you_mean
from cramwire.units import parse_bytes, parse_duration
from cramwire.v1 import operator_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import FieldDescriptor

    from cramlab.scenario.table import Table


def read_fault(table: Table, kind: str, seed: int) -> operator_pb2.InjectFaultRequest:
    """The fault of an entry of the timeline.

    Raises:
        ScenarioError: no such fault, or a field that it does not have.
    """
    request = operator_pb2.InjectFaultRequest()
    kinds = {field.name.replace("_", "-"): field for field in request.fault.DESCRIPTOR.oneofs[0].fields}
    if kind not in kinds:
        table.fail(f"there is no fault {kind!r}{did_you_mean(kind, kinds)}", "inject")
    target = getattr(request.fault, kinds[kind].name)
    target.SetInParent()
    for field in target.DESCRIPTOR.fields:
        key, value = _read(table, field)
        if key in table:
            setattr(target, field.name, value)
        elif field.name == "seed":
            target.seed = seed
    return request


def _read(table: Table, field: FieldDescriptor) -> tuple[str, Any]:
    for suffix, parse in (("_ns", parse_duration), ("_milli", lambda text: MILLI.convert(text, None, None))):
        if field.name.endswith(suffix):
            key = field.name.removesuffix(suffix)
            return key, table.parsed(key, parse) if key in table else None
    key = field.name
    if key not in table:
        return key, None
    return key, table.parsed(key, parse_bytes) if key == "bytes" else table.raw(key)

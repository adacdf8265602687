"""Faults of a scenario's timeline: every kind of `cramwire.fault_kinds`, with its settings and its scope.

What stands behind a flag of `cramctl inject` stands under the same name here: `--device-jitter 1us` is
`device-jitter = "1us"`, and what can be given several times is a list.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from cramlab.scenario.table import did_you_mean
from cramwire.fault_kinds import KINDS
from cramwire.fault_request import fault_message
from cramwire.v1 import operator_pb2

if TYPE_CHECKING:
    from cramlab.scenario.table import Table
    from cramwire.fault_kinds import Field

_OF_A_STEP: Final = ("at", "inject", "as")
_SEED: Final = "seed"


def read_fault(table: Table, name: str, seed: int) -> operator_pb2.InjectFaultRequest:
    """The fault of an entry of the timeline.

    Args:
        table: the entry.
        name: what it injects, as `cramctl inject` calls it.
        seed: of the scenario. Whatever a fault draws, it draws with a seed of its own made from it,
            unless the file gives one.

    Raises:
        ScenarioError: no such fault, or a setting that it does not have.
    """
    by_name = {kind.name: kind for kind in KINDS.values()}
    if name not in by_name:
        table.fail(f"there is no fault {name!r}{did_you_mean(name, by_name)}", "inject")
    kind = by_name[name]
    fields = {field.name: field for field in (*kind.fields, *kind.scope)}
    values = {
        field.key: _values(table, field)
        for field in fields.values()
        if field.name in table and field.name not in _OF_A_STEP
    }
    table.finish((*fields, *_OF_A_STEP))
    drawn = next((field for field in fields.values() if field.key == _SEED), None)
    if drawn is not None and (not drawn.goes_with or drawn.goes_with in values):
        values.setdefault(_SEED, zlib.crc32(f"{seed}/{name}/{table.duration('at')}".encode()))
    try:
        return operator_pb2.InjectFaultRequest(fault=fault_message(kind.kind, values))
    except ValueError as error:
        return table.fail(str(error))


def _values(table: Table, field: Field) -> Any:
    """What the file gives for a setting; a list where it can be given several times."""
    given = table.raw(field.name)
    if not field.many:
        return table.parsed(field.name, field.unit.parse)
    try:
        return [field.unit.parse(str(one)) for one in (given if isinstance(given, list) else [given])]
    except ValueError as error:
        return table.fail(str(error), field.name)

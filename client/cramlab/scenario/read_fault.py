"""Faults of a scenario's timeline: every kind of `cramwire.fault_kinds`, with its settings and its scope.

What stands behind a flag of `cramctl inject` stands under the same name here: `--device-jitter 1us` is
`device-jitter = "1us"`, and what can be given several times is a list.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from cramlab.scenario.table import did_you_mean
from cramwire.fault_kinds import HOST, KINDS
from cramwire.fault_request import fault_message
from cramwire.v1 import operator_pb2
from cxldev.errors import InvalidField
from cxldevd import fault_messages

if TYPE_CHECKING:
    from collections.abc import Collection

    from cramlab.scenario.table import Table
    from cramwire.fault_kinds import Field
    from cxldev.config import DeviceConfig

_OF_A_STEP: Final = ("at", "inject", "as")
_SEED: Final = "seed"


def read_fault(
    table: Table, name: str, drawn_from: str, *, hosts: Collection[str], device: DeviceConfig
) -> operator_pb2.InjectFaultRequest:
    """The fault of an entry of the timeline.

    Args:
        table: the entry.
        name: what it injects, as `cramctl inject` calls it.
        drawn_from: of what its seed is made, unless the file gives one.
        hosts: names of the scenario's hosts.
        device: what the fault is injected into.

    Raises:
        ScenarioError: no such fault, a setting that it does not have, a host that there is not, or the device
            would refuse it.
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
    for field in fields.values():
        if field.unit is HOST and (host := values.get(field.key, "")) and host not in hosts:
            table.fail(f"there is no host {host!r}{did_you_mean(host, hosts)}", field.name)
    seed = next((field for field in fields.values() if field.key == _SEED), None)
    if seed is not None and (not seed.goes_with or seed.goes_with in values):
        values.setdefault(_SEED, zlib.crc32(drawn_from.encode()))
    try:
        message = fault_message(kind.kind, values)
        # The device says the rest, and it says it now: a run that cannot go as written is not begun.
        fault_messages.fault(message).check(device)
    except (ValueError, InvalidField) as error:
        return table.fail(str(error))
    return operator_pb2.InjectFaultRequest(fault=message)


def _values(table: Table, field: Field) -> Any:
    """What the file gives for a setting; a list where it can be given several times."""
    given = table.raw(field.name)
    if not field.many:
        return table.parsed(field.name, field.unit.parse)
    try:
        return [field.unit.parse(str(one)) for one in (given if isinstance(given, list) else [given])]
    except ValueError as error:
        return table.fail(str(error), field.name)

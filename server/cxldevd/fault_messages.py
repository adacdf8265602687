"""Faults as messages, in both directions. What is right or wrong about them, the device says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramwire.v1 import operator_pb2, types_pb2
from cxldev.errors import InvalidField
from cxldev.faults import (
    BitFlipFault,
    ControlStallFault,
    DroppedConnectionFault,
    EventFault,
    EventTrouble,
    ExhaustionFault,
    FlushHangFault,
    HeldFault,
    LatencyFault,
    Operation,
    PoisonFault,
    RatioCollapseFault,
    ReadOnlyMediaFault,
    RefusedCommandFault,
    ResetFault,
    Scope,
    StagingOverflowFault,
    StuckTrimFault,
    UnansweredCommandFault,
)
from cxldev.faults.scope import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cxldev.faults import ArmedFault, Fault

_OPERATIONS: Final = {
    operator_pb2.Operation.Value(f"OPERATION_{operation.name}"): operation for operation in Operation
}
_OPERATION_NUMBERS: Final = {operation: number for number, operation in _OPERATIONS.items()}
_TROUBLES: Final = {
    operator_pb2.EventTrouble.Value(f"EVENT_TROUBLE_{trouble.name}"): trouble for trouble in EventTrouble
}
_TROUBLE_NUMBERS: Final = {trouble: number for number, trouble in _TROUBLES.items()}
_WITHOUT_SCOPE: Final = {"poison", "bit_flip", "reset"}
"""Done at once."""


# -- from the wire --------------------------------------------------------------------------------


def fault(of: operator_pb2.Fault) -> Fault:
    """The fault that an operator asks for.

    Raises:
        InvalidField: no kind of fault is named, or an enum has a value that nobody knows.
    """
    kind = of.WhichOneof("kind")
    if kind is None:
        kinds = ", ".join(field.name for field in operator_pb2.Fault.DESCRIPTOR.oneofs_by_name["kind"].fields)
        raise InvalidField(f"fault.kind is absent: set one of {kinds}")
    if kind in _WITHOUT_SCOPE and of.HasField("scope"):
        raise InvalidField(f"{kind} is done at once: it takes no scope")
    return _MAKERS[kind](getattr(of, kind), _scope(of.scope))


def _scope(of: operator_pb2.FaultScope) -> Scope:
    for number in of.operations:
        if number not in _OPERATIONS:
            raise InvalidField(f"scope operation {number} is none that there is")
    return Scope(
        host=of.host,
        dpas=(of.range.start, of.range.length) if of.HasField("range") else None,
        operations=frozenset(_OPERATIONS[number] for number in of.operations),
        share_milli=of.share_milli or 1000,
        count=of.count,
        duration_ns=of.duration_ns,
        seed=of.seed,
    )


def _exhaustion(of: operator_pb2.ExhaustionFault, scope: Scope) -> Fault:
    amount = of.WhichOneof("amount")
    return ExhaustionFault(
        bytes=of.bytes if amount == "bytes" else None,
        share_milli=of.share_milli if amount == "share_milli" else None,
        ramp_ns=of.ramp_ns,
        scope=scope,
    )


def _latency(of: operator_pb2.LatencyFault, scope: Scope) -> Fault:
    return LatencyFault(
        device_ns=of.device_ns,
        wall_ns=of.wall_ns,
        device_jitter_ns=of.device_jitter_ns,
        wall_jitter_ns=of.wall_jitter_ns,
        tail_milli=of.tail_milli,
        device_tail_ns=of.device_tail_ns,
        wall_tail_ns=of.wall_tail_ns,
        scope=scope,
    )


def _event(of: operator_pb2.EventFault, scope: Scope) -> Fault:
    trouble = _TROUBLES.get(of.trouble)
    if trouble is None:
        raise InvalidField("event.trouble is absent: set lost, late, duplicated or reordered")
    return EventFault(
        trouble,
        delay_ns=of.delay_ns,
        copies=of.copies or int(trouble is EventTrouble.DUPLICATED),
        behind=of.behind or int(trouble is EventTrouble.REORDERED),
        names=frozenset(of.events),
        scope=scope,
    )


_MAKERS: Final[dict[str, Callable[[Any, Scope], Fault]]] = {
    "exhaustion": _exhaustion,
    "poison": lambda of, _: PoisonFault(of.host, tuple(of.dpas), of.random_pages, of.seed),
    "ratio_collapse": lambda of, scope: RatioCollapseFault(of.ratio_milli, scope=scope),
    "latency": _latency,
    "reset": lambda _of, _: ResetFault(),
    "bit_flip": lambda of, _: BitFlipFault(
        of.host, tuple(of.dpas), of.random_pages, of.seed, bits=of.bits or 1
    ),
    "read_only_media": lambda _of, scope: ReadOnlyMediaFault(scope=scope),
    "staging_overflow": lambda _of, scope: StagingOverflowFault(scope=scope),
    "stuck_trim": lambda of, scope: StuckTrimFault(of.delay_ns, scope=scope),
    "flush_hang": lambda of, scope: FlushHangFault(of.delay_ns, scope=scope),
    "control_stall": lambda of, scope: ControlStallFault(of.delay_ns, scope=scope),
    "refused_command": lambda _of, scope: RefusedCommandFault(scope=scope),
    "unanswered_command": lambda of, scope: UnansweredCommandFault(of.carried_out, scope=scope),
    "dropped_connection": lambda of, scope: DroppedConnectionFault(of.carried_out, scope=scope),
    "event": _event,
}


# -- to the wire ----------------------------------------------------------------------------------


def armed_fault(of: ArmedFault, wall_ns: Callable[[int], int]) -> operator_pb2.ArmedFault:
    """An armed fault as it stands. `wall_ns` turns the device's clock into time since the epoch."""
    return operator_pb2.ArmedFault(
        fault_id=of.fault_id,
        fault=_message(of.fault),
        armed_wall_time_ns=wall_ns(of.armed_ns),
        fired=of.fired,
        left=of.left,
        ends_wall_time_ns=None if of.ends_ns is None else wall_ns(of.ends_ns),
    )


def _message(of: HeldFault) -> operator_pb2.Fault:
    """A fault as the operator asked for it."""
    made = operator_pb2.Fault()
    target = getattr(made, of.kind)
    target.SetInParent()
    match of:
        case EventFault():
            target.trouble = _TROUBLE_NUMBERS[of.trouble]
            target.delay_ns, target.copies, target.behind = of.delay_ns, of.copies, of.behind
            target.events.extend(sorted(of.names))
        case _:
            # The messages' fields are named as the faults' are.
            for field in target.DESCRIPTOR.fields:
                value = getattr(of, field.name)
                if value is not None:
                    setattr(target, field.name, value)
    if of.scope != EVERYTHING:
        made.scope.CopyFrom(_scope_message(of.scope))
    return made


def _scope_message(of: Scope) -> operator_pb2.FaultScope:
    return operator_pb2.FaultScope(
        host=of.host,
        range=None if of.dpas is None else types_pb2.DpaRange(start=of.dpas[0], length=of.dpas[1]),
        operations=sorted(_OPERATION_NUMBERS[operation] for operation in of.operations),
        share_milli=0 if of.share_milli == EVERYTHING.share_milli else of.share_milli,
        count=of.count,
        duration_ns=of.duration_ns,
        seed=of.seed,
    )

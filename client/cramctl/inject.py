"""`cramctl inject ...`, `cramctl clear`, `cramctl faults`: faults on a live device.

The commands of `inject` are made from the table of kinds (`cramwire.fault_kinds`): an option for each
setting, and one for each way of confining it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cramctl.options import Parsed, form_option, json_option, operator_option, wants_json
from cramctl.session import connected
from cramwire.fault_kinds import KINDS, SWITCH
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramwire.fault_kinds import FaultKind, Field
    from cramwire.v1 import operator_pb2

_SHOWN_DPAS = 8


@click.group()
def inject() -> None:
    """Inject a fault into a live device.

    Several can be armed at once, of one kind, too. What a fault is confined by (--only-host, --count, ...)
    stands at the end of its options.

    \b
    Example:
      cramctl inject exhaustion --share 0.5
      cramctl faults
      cramctl clear --all
    """  # noqa: D301 - click's mark: keep these lines as they are


def _command(kind: FaultKind) -> click.Command:
    """The command that injects faults of a kind."""

    def run(*, address: str, as_json: bool, **given: Any) -> None:
        values = {
            field.key: list(value) if field.many else value
            for field in (*kind.fields, *kind.scope)
            if (value := given[field.key]) is not None and value != () and value is not False
        }
        _inject(address, kind, values, as_json=as_json)

    run.__doc__ = "\n".join(
        (
            f"{kind.summary}\n",
            "Done at once.\n" if kind.at_once else "Stays armed until it is cleared.\n",
            "\b",
            "Example:",
            *(f"  cramctl inject {kind.name} {example}".rstrip() for example in kind.examples),
        )
    )
    decorated: Callable[..., None] = run
    for field in reversed((*kind.fields, *kind.scope)):
        decorated = _option(field)(decorated)
    return click.command(kind.name, short_help=kind.summary)(operator_option(json_option(decorated)))


def _option(field: Field) -> Callable[[Callable[..., None]], Callable[..., None]]:
    if field.unit is SWITCH:
        return click.option(f"--{field.name}", field.key, is_flag=True, help=field.help)
    return click.option(
        f"--{field.name}",
        field.key,
        type=Parsed(field.unit.metavar, field.unit.parse),
        metavar=field.unit.metavar,
        multiple=field.many,
        required=field.required,
        help=field.help,
    )


for _kind in KINDS.values():
    inject.add_command(_command(_kind))


@click.command()
@operator_option
@json_option
@click.argument("fault_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All that are armed.")
def clear(address: str, as_json: bool, fault_id: str | None, everything: bool) -> None:
    """Clear a fault, by the ID that `inject` and `faults` tell, or all of them.

    \b
    Example:
      cramctl clear --all
    """  # noqa: D301 - click's mark: keep these lines as they are
    if bool(fault_id) == everything:
        raise click.UsageError("give either an ID or --all")
    with connected(address) as operator:
        answer = operator.clear(fault_id or "")
    free = answer.telemetry.media_free_bytes
    if as_json:
        click.echo(json.dumps({"cleared": answer.cleared, "media_free_size": free}))
    else:
        plural = "" if answer.cleared == 1 else "s"
        click.echo(f"{answer.cleared} fault{plural} cleared, {format_bytes(free)} of media free")


@click.command()
@operator_option
@form_option
def faults(address: str, as_json: bool | None) -> None:
    """List the faults that are armed.

    \b
    Example:
      cramctl faults --json
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        armed = operator.faults()
    from cramctl.describe import describe_fault  # noqa: PLC0415 - loaded with grpc, see session.py

    described = [describe_fault(fault) for fault in armed]
    if wants_json(as_json):
        click.echo(json.dumps(described, indent=2))
    else:
        from cramctl.tables import print_faults  # noqa: PLC0415 - rich is for tables only

        print_faults(described)


def _inject(address: str, kind: FaultKind, values: dict[str, Any], *, as_json: bool) -> None:
    from cramwire.fault_request import fault_message  # noqa: PLC0415 - loaded with grpc, see session.py

    try:
        fault = fault_message(kind.kind, values)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with connected(address) as operator:
        answer = operator.inject(fault)
    if as_json:
        click.echo(json.dumps(_as_dict(kind.kind, answer)))
    elif answer.fault_id:
        free = format_bytes(answer.telemetry.media_free_bytes)
        click.echo(f"{kind.name} armed as {answer.fault_id}, {free} of media free")
    elif answer.dpas:
        shown = ", ".join(f"{dpa:#x}" for dpa in answer.dpas[:_SHOWN_DPAS])
        more = f" and {len(answer.dpas) - _SHOWN_DPAS} more" if len(answer.dpas) > _SHOWN_DPAS else ""
        click.echo(f"{kind.name}: {len(answer.dpas)} pages of {values['host']}: {shown}{more}")
    else:
        click.echo(f"{kind.name} done, generation is now {answer.telemetry.generation}")


def _as_dict(kind: str, answer: operator_pb2.InjectFaultResponse) -> dict[str, Any]:
    return {
        "fault": answer.fault_id or None,
        "kind": kind,
        "dpas": list(answer.dpas),
        "generation": answer.telemetry.generation,
        "media_free_size": answer.telemetry.media_free_bytes,
        "no_more_writes": answer.telemetry.no_more_writes,
    }

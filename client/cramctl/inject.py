"""`cramctl inject ...`, `cramctl clear`, `cramctl faults`: faults on a live device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cramctl.options import (
    DPA,
    DURATION,
    MILLI,
    SIZE,
    form_option,
    json_option,
    operator_option,
    wants_json,
)
from cramctl.session import connected, inject_fault
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from cramwire.v1 import operator_pb2

_SHOWN_DPAS = 8


@click.group()
def inject() -> None:
    """Inject a fault into a live device.

    \b
    Example:
      cramctl inject exhaustion --share 0.5
      cramctl faults
      cramctl clear --all
    """  # noqa: D301 - click's mark: keep these lines as they are


@inject.command()
@operator_option
@json_option
@click.option("--bytes", "size", type=SIZE, help="Media to hold back, as 512MiB.")
@click.option("--share", type=MILLI, help="Share of all media to hold back, 0 to 1.")
def exhaustion(address: str, as_json: bool, size: int | None, share: int | None) -> None:
    """Hold media back, so that the device runs out.

    What is not free now is taken as it becomes free. Stays armed until it is cleared.

    \b
    Example:
      cramctl inject exhaustion --bytes 48MiB
    """  # noqa: D301 - click's mark: keep these lines as they are
    if (size is None) == (share is None):
        raise click.UsageError("give either --bytes or --share")
    if size is not None:
        _inject(address, as_json, "exhaustion", {"bytes": _at_least(size, 1, "--bytes")})
        return
    assert share is not None
    if not 0 < share <= 1000:
        raise click.BadParameter("is above 0 and at most 1, in steps of 0.001", param_hint="'--share'")
    _inject(address, as_json, "exhaustion", {"share_milli": share})


@inject.command()
@operator_option
@json_option
@click.option("--host", required=True, help="Host whose region holds the pages.")
@click.option("--dpa", "dpas", type=DPA, multiple=True, help="A page's address; again for more pages.")
@click.option("--random", "random_pages", type=click.IntRange(1, 2**32 - 1), help="So many pages instead.")
@click.option("--seed", type=click.IntRange(0, 2**64 - 1), help="Makes --random repeatable. Default: 0.")
def poison(
    *,
    address: str,
    as_json: bool,
    host: str,
    dpas: tuple[int, ...],
    random_pages: int | None,
    seed: int | None,
) -> None:
    """Lose the bytes of pages that hold data.

    Done at once; found by a later read. A write or a TRIM heals a page.

    \b
    Example:
      cramctl inject poison --host host-a --random 4 --seed 7
      cramctl inject poison --host host-a --dpa 0x0 --dpa 0x1000
    """  # noqa: D301 - click's mark: keep these lines as they are
    if bool(dpas) == (random_pages is not None):
        raise click.UsageError("give either --dpa or --random")
    if random_pages is None:
        if seed is not None:
            raise click.UsageError("--seed goes with --random")
        _inject(address, as_json, "poison", {"host": host, "dpas": dpas})
    else:
        settings = {"host": host, "random_pages": random_pages, "seed": seed or 0}
        _inject(address, as_json, "poison", settings)


@inject.command("ratio-collapse")
@operator_option
@json_option
@click.option("--ratio", type=MILLI, required=True, help="No page compresses better than this, as 1.2.")
def ratio_collapse(address: str, as_json: bool, ratio: int) -> None:
    """Make pages written from now on take no less media than a ratio gives.

    Stays armed until it is cleared.

    \b
    Example:
      cramctl inject ratio-collapse --ratio 1.2
    """  # noqa: D301 - click's mark: keep these lines as they are
    if not 1000 <= ratio < 2**32:
        raise click.BadParameter("is at least 1", param_hint="'--ratio'")
    _inject(address, as_json, "ratio_collapse", {"ratio_milli": ratio})


@inject.command()
@operator_option
@json_option
@click.option("--device", "device_ns", type=DURATION, default=0, help="Device time to add, only reported.")
@click.option("--wall", "wall_ns", type=DURATION, default=0, help="Wall time to add, really waited for.")
def latency(address: str, as_json: bool, device_ns: int, wall_ns: int) -> None:
    """Make every data command slower.

    Stays armed until it is cleared.

    \b
    Example:
      cramctl inject latency --device 1us --wall 1ms
    """  # noqa: D301 - click's mark: keep these lines as they are
    if not device_ns and not wall_ns:
        raise click.UsageError("give --device, --wall or both, above 0")
    _inject(address, as_json, "latency", {"device_ns": device_ns, "wall_ns": wall_ns})


@inject.command()
@operator_option
@json_option
def reset(address: str, as_json: bool) -> None:
    """Power lost and back: a new generation, nothing kept.

    Done at once. Hosts lose what was on the device and attach again. Armed faults stay armed.

    \b
    Example:
      cramctl inject reset
    """  # noqa: D301 - click's mark: keep these lines as they are
    _inject(address, as_json, "reset", {})


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


def _inject(address: str, as_json: bool, kind: str, settings: dict[str, Any]) -> None:
    answer = inject_fault(address, kind, settings)
    if as_json:
        click.echo(json.dumps(_as_dict(kind, answer)))
    elif answer.fault_id:
        free = format_bytes(answer.telemetry.media_free_bytes)
        click.echo(f"{kind.replace('_', ' ')} armed as {answer.fault_id}, {free} of media free")
    elif kind == "poison":
        shown = ", ".join(f"{dpa:#x}" for dpa in answer.dpas[:_SHOWN_DPAS])
        more = f" and {len(answer.dpas) - _SHOWN_DPAS} more" if len(answer.dpas) > _SHOWN_DPAS else ""
        click.echo(f"{len(answer.dpas)} pages of {settings['host']} poisoned: {shown}{more}")
    else:
        click.echo(f"{kind.replace('_', ' ')} done, generation is now {answer.telemetry.generation}")


def _as_dict(kind: str, answer: operator_pb2.InjectFaultResponse) -> dict[str, Any]:
    return {
        "fault": answer.fault_id or None,
        "kind": kind,
        "dpas": list(answer.dpas),
        "generation": answer.telemetry.generation,
        "media_free_size": answer.telemetry.media_free_bytes,
        "no_more_writes": answer.telemetry.no_more_writes,
    }


def _at_least(value: int, least: int, option: str) -> int:
    if not least <= value < 1 << 64:
        raise click.BadParameter(f"is at least {least} and below 2^64", param_hint=f"'{option}'")
    return value

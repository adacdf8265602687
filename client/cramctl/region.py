"""`cramctl region ...`: the regions of attached hosts, changed while they use them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cramctl.options import Parsed, form_option, json_option, operator_option, wants_json
from cramctl.session import connected
from cramwire.units import format_bytes, format_duration, parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramwire.v1 import types_pb2

_SIZE = Parsed("size", parse_bytes)
_TIME = Parsed("time", parse_duration)


@click.group()
def region() -> None:
    """Grow, shrink and re-share the regions of attached hosts.

    A region's DPA space grows and shrinks by CXL's dynamic capacity. Its guarantee is media that no other
    host can take, its limit what it may take at most.

    \b
    Example:
      cramctl region list
      cramctl region release host-a 64MiB --force-after 5s
      cramctl region guarantee host-b 1GiB
    """  # noqa: D301 - click's mark: keep these lines as they are


def _of_a_region(size: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """HOST, an amount, and how the answer looks."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.argument("size", metavar=size, type=_SIZE)(command)
        return operator_option(json_option(click.argument("host")(command)))

    return decorate


@region.command("list")
@operator_option
@form_option
def list_regions(address: str, as_json: bool | None) -> None:
    """List the regions, what each may take, and what the device asks back.

    \b
    Example:
      cramctl region list --json
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        status = operator.status()
    from cramctl.describe import describe_region  # noqa: PLC0415 - loaded with grpc, see session.py

    described = [describe_region(one) for one in status.regions]
    if wants_json(as_json):
        click.echo(json.dumps(described, indent=2))
    else:
        from cramctl.tables import print_regions  # noqa: PLC0415 - rich is for tables only

        print_regions(described)


@region.command()
@_of_a_region("SIZE")
def add(address: str, as_json: bool, host: str, size: int) -> None:
    """Add SIZE of DPA space to the region of HOST. It withdraws what was asked back.

    \b
    Example:
      cramctl region add host-a 64MiB
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        _answer(operator.add_capacity(host, size), as_json=as_json)


@region.command()
@_of_a_region("SIZE")
@click.option("--force-after", type=_TIME, metavar="TIME", help="Take it then, whatever it holds.")
def release(address: str, as_json: bool, host: str, size: int, force_after: int | None) -> None:
    """Ask HOST for the last SIZE of its region back.

    The host empties it and shrinks the region itself; `cramctl events` tells when. With --force-after, what
    it still holds there by then is lost.

    \b
    Example:
      cramctl region release host-a 64MiB --force-after 5s
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        _answer(operator.release_capacity(host, size, force_after), as_json=as_json)


@region.command()
@_of_a_region("SIZE")
def guarantee(address: str, as_json: bool, host: str, size: int) -> None:
    """Guarantee SIZE of media to HOST. All guarantees together must fit the media.

    \b
    Example:
      cramctl region guarantee host-a 1GiB
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        _answer(operator.share_media(host, guaranteed_bytes=size), as_json=as_json)


@region.command()
@_of_a_region("SIZE")
def limit(address: str, as_json: bool, host: str, size: int) -> None:
    """Let HOST take SIZE of media at most. What it holds beyond that it keeps, but nothing may grow.

    \b
    Example:
      cramctl region limit host-a 2GiB
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        _answer(operator.share_media(host, limit_bytes=size), as_json=as_json)


def _answer(now: types_pb2.RegionTelemetry, *, as_json: bool) -> None:
    """The region as it is now."""
    from cramctl.describe import describe_share  # noqa: PLC0415 - loaded with grpc, see session.py

    told = describe_share(now)
    if as_json:
        click.echo(json.dumps(told))
        return
    line = (
        f"{now.host}: {format_bytes(now.logical_bytes)} of DPA space, {format_bytes(now.media_used_bytes)} "
        f"of media used, {format_bytes(now.guaranteed_media_bytes)} guaranteed, "
        f"{format_bytes(now.limit_media_bytes)} at most"
    )
    if now.HasField("asked_back_to_bytes"):
        line += f"; asked to shrink to {format_bytes(now.asked_back_to_bytes)}"
    if now.HasField("forced_in_ns"):
        line += f", by force in {format_duration(now.forced_in_ns)}"
    click.echo(line)

"""`cramctl top`: the device and its hosts, live in a terminal, for as long as one looks."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

import click

from cramctl.options import Parsed, operator_option
from cramctl.session import connected
from cramwire.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramctl.operator import Operator
    from cramctl.readings import Readings

_INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""
_LEAST_NS: Final = 100_000_000
_REDRAWN_PER_S: Final = 4


def _interval(text: str) -> float:
    """`500ms` -> s."""
    ns = parse_duration(text)
    if ns < _LEAST_NS:
        raise ValueError(f"{text!r} is too short: at least 100ms")
    return ns / 1e9


@click.command()
@operator_option
@click.option(
    "--interval",
    type=Parsed("time", _interval),
    default="1s",
    show_default=True,
    help="Between two readings of the device.",
)
@click.option("--once", is_flag=True, help="Two readings, one interval apart; show them, and end.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, one for each reading.")
def top(address: str, interval: float, once: bool, as_json: bool) -> None:
    """Watch the device: media, watermark, rates, hosts, armed faults, the last events.

    Fits itself to the terminal. When the device goes away it says so, keeps the last figures, and goes
    on when it is back. Without a terminal it prints one view after another. Ctrl-C ends it, with exit
    code 130.

    \b
    Example:
      cramctl top
      cramctl top --interval 500ms
      cramctl top --once --json | jq .rates
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator, connected(address) as watching:
        from cramctl.readings import Readings  # noqa: PLC0415 - loaded with grpc, see session.py

        readings = Readings(operator, time.monotonic)
        readings.look()
        try:
            if as_json:
                _each(readings, interval, lambda: click.echo(json.dumps(readings.described())), once=once)
            else:
                _views(readings, interval, watching, once=once)
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None


def _views(readings: Readings, interval: float, watching: Operator, *, once: bool) -> None:
    from rich.live import Live  # noqa: PLC0415 - rich is for views only

    from cramctl.event_tail import EventTail  # noqa: PLC0415 - loaded with grpc, see session.py
    from cramctl.tables import fitting_console  # noqa: PLC0415 - as rich is
    from cramctl.top_view import TopView  # noqa: PLC0415 - as rich is

    console = fitting_console()
    with EventTail(watching) as tail:
        if once or not console.is_terminal:
            _each(
                readings,
                interval,
                lambda: console.print(TopView(readings, tail.newest(), None, tail.problem)),
                once=once,
            )
            return
        with Live(
            console=console,
            screen=True,
            refresh_per_second=_REDRAWN_PER_S,
            get_renderable=lambda: TopView(readings, tail.newest(), console.size.height, tail.problem),
        ):
            _each(readings, interval, lambda: None, once=False)


def _each(readings: Readings, interval: float, show: Callable[[], object], *, once: bool) -> None:
    """Look at the device once an interval, and show what there is each time."""
    while True:
        time.sleep(interval)
        readings.look_again()
        show()
        if once:
            if readings.problem:
                raise click.ClickException(readings.problem)
            return

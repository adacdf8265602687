"""`cramctl status` and `cramctl events`: what the device holds, and what happens to it."""

from __future__ import annotations

import json

import click

from cramctl.options import form_option, json_option, operator_option, wants_json
from cramctl.session import connected

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


@click.command()
@operator_option
@form_option
def status(address: str, as_json: bool | None) -> None:
    """Show the device, its regions and its armed faults.

    As with `cxl list`, JSON is the native form; sizes are in bytes.

    \b
    Example:
      cramctl status --json | jq .media.free_size
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        answer = operator.status()
    from cramctl.describe import describe_status  # noqa: PLC0415 - loaded with grpc, see session.py

    described = describe_status(answer)
    if wants_json(as_json):
        click.echo(json.dumps(described, indent=2))
    else:
        from cramctl.tables import print_status  # noqa: PLC0415 - rich is for tables only

        print_status(described)


@click.command()
@operator_option
@json_option
@click.option(
    "--after",
    type=click.IntRange(0, 2**64 - 1),
    metavar="N",
    help="Begin behind event N. Default: now; with --no-follow, the oldest that is kept.",
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for more, or end.")
def events(address: str, as_json: bool, after: int | None, follow: bool) -> None:
    """Print the device's events, one line each, as they happen.

    Follows over restarts of the device, and says so when events were missed. With --json, each
    line is a JSON object. Ctrl-C ends it, with exit code 130.

    \b
    Example:
      cramctl events --after 0
      cramctl events --no-follow --json | jq 'select(.event == "watermark_crossed")'
    """  # noqa: D301 - click's mark: keep these lines as they are
    with connected(address) as operator:
        from cramctl.events import Follower, event_line  # noqa: PLC0415 - loaded with grpc, see session.py

        try:
            if follow:
                found = Follower(operator, after).follow(lambda why: click.echo(f"{why}; waiting", err=True))
            else:
                found = Follower(operator, after or 0).existing()
            for event in found:
                click.echo(json.dumps(event) if as_json else event_line(event))
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None

"""`cram-agent`: where the program begins."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

from cramwire.transport import tune_grpc, tune_malloc

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The program. What is wrong is said in one line; see `cram-agent run --help` for the exit status."""
    try:
        tune_malloc()
        tune_grpc()
        # grpc allocates from its import on: it must come after malloc was told how.
        from cramagent.cli import cli  # noqa: PLC0415

        code = cli.main(arguments, prog_name="cram-agent", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = error.exit_code
    except click.UsageError as error:
        click.echo(f"cram-agent: {error.format_message().rstrip('.')}; see --help", err=True)
        code = error.exit_code
    except click.ClickException as error:
        click.echo(f"cram-agent: {error.format_message()}", err=True)
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("cram-agent: interrupted", err=True)
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()

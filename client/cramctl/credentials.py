"""What `cramctl` shows to the operator's listener: options that every command which talks to one has.

Not passed through the commands: they stand in click's context, where `session.connected` finds them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramwire.channel import ClientCredentials

_META: Final = "cramctl.credentials"
_TOKEN: Final = "CRAMCTL_TOKEN"  # noqa: S105 - the variable's name
_OPTIONS: Final = (
    ("--tls-ca", "ca", "Speak TLS; the CA of the device's certificate, PEM."),
    ("--tls-cert", "cert", "The operator's certificate, for mutual TLS, PEM."),
    ("--tls-key", "key", "The private key to it, PEM."),
    ("--token-file", "token_file", f"A file with the operator's token. Or set {_TOKEN}."),
)


def credentials_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--tls-ca`, `--tls-cert`, `--tls-key`, `--tls-name`, `--token-file`, and their variables."""
    command = click.option(
        "--tls-name",
        metavar="NAME",
        envvar="CRAMCTL_TLS_NAME",
        expose_value=False,
        callback=_keep("server_name"),
        help="The name in the device's certificate, if not that of the address.",
    )(command)
    for flag, field, text in reversed(_OPTIONS):
        command = click.option(
            flag,
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="CRAMCTL_" + flag.removeprefix("--").replace("-", "_").upper(),
            expose_value=False,
            callback=_keep(field),
            help=text,
        )(command)
    return command


def given_credentials() -> ClientCredentials:
    """Those of the command that runs."""
    from cramwire.channel import ClientCredentials  # noqa: PLC0415 - grpc comes with it

    context = click.get_current_context(silent=True)
    fields: dict[str, Any] = {} if context is None else context.meta.get(_META, {})
    return ClientCredentials(**fields, token=os.environ.get(_TOKEN))


def _keep(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.meta.setdefault(_META, {})[field] = value

    return keep

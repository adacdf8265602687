"""How commands reach a device: grpc loaded only when needed, every failure one line and exit code 1."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cramctl.credentials import given_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramctl.operator import Operator


@contextmanager
def connected(address: str) -> Iterator[Operator]:
    """An operator's connection for one command.

    Raises:
        click.ClickException: the device refused or could not be reached; one line, exit code 1.
    """
    # grpc takes longer to load than everything else together: --help and usage errors do without it.
    from cramctl.operator import Operator, OperatorError  # noqa: PLC0415
    from cramwire.channel import CredentialsProblem  # noqa: PLC0415

    try:
        with Operator(address, given_credentials()) as operator:
            yield operator
    except (OperatorError, CredentialsProblem) as error:
        raise click.ClickException(str(error)) from error

"""How commands reach a device: grpc loaded only when needed, every failure one line and exit code 1."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramctl.operator import Operator
    from cramwire.v1 import operator_pb2


@contextmanager
def connected(address: str) -> Iterator[Operator]:
    """An operator's connection for one command.

    Raises:
        click.ClickException: the device refused or could not be reached; one line, exit code 1.
    """
    # grpc takes longer to load than everything else together: --help and usage errors do without it.
    from cramctl.operator import Operator, OperatorError  # noqa: PLC0415

    try:
        with Operator(address) as operator:
            yield operator
    except OperatorError as error:
        raise click.ClickException(str(error)) from error


def inject_fault(address: str, kind: str, settings: dict[str, Any]) -> operator_pb2.InjectFaultResponse:
    """Inject the fault whose field of `cramwire.v1.Fault` is `kind`, with these of its fields set.

    Raises:
        click.ClickException: as `connected`.
    """
    with connected(address) as operator:
        from cramwire.v1 import operator_pb2  # noqa: PLC0415 - loaded with grpc, see above

        fault = operator_pb2.Fault()
        target = getattr(fault, kind)
        # Marks an empty message, such as reset, as the one that is meant.
        target.SetInParent()
        for name, value in settings.items():
            if isinstance(value, tuple):
                getattr(target, name).extend(value)
            else:
                setattr(target, name, value)
        return operator.inject(fault)

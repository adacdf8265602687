"""What the command line's values are made of: sizes, times, ratios; and the options that recur."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cramctl.credentials import credentials_options

if TYPE_CHECKING:
    from collections.abc import Callable

    _ParamType = click.ParamType[Any]
else:
    # Generic from click 8.5 on only.
    _ParamType = click.ParamType

DEFAULT_OPERATOR: Final = "127.0.0.1:7701"


class Parsed(_ParamType):
    """A value that a function reads from text; what its ValueError says is the error."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the text says; what is no text was read already."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _parse_milli(text: str) -> int:
    """`1.25` -> 1250 per mille."""
    try:
        return round(float(text) * 1000)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a number") from None


MILLI: Final = Parsed("number", _parse_milli)


def operator_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--operator ADDR` of every command that talks to a device, and what it is shown there."""
    return click.option(
        "--operator",
        "address",
        metavar="ADDR",
        envvar="CRAMCTL_OPERATOR",
        default=DEFAULT_OPERATOR,
        show_default=True,
        show_envvar=True,
        help="Operator's listener of cxldevd: HOST:PORT or unix:PATH.",
    )(credentials_options(command))


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json` of commands whose answer is a line for people otherwise."""
    return click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")(command)


def form_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json/--table` of commands that list: JSON is native, a table is for terminals."""
    return click.option(
        "--json/--table",
        "as_json",
        default=None,
        help="Form of the answer. Default: a table on a terminal, JSON elsewhere.",
    )(command)


def json_file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json FILE` of commands that work for a while."""
    return writable_file_option("--json", "json_file", "Write the result here, as JSON.")(command)


def writable_file_option(
    flag: str, name: str, text: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A file to write in the end: refused at once if it cannot be made."""
    return click.option(
        flag,
        name,
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        callback=_in_a_folder,
        help=text,
    )


def _in_a_folder(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.absolute().parent}", ctx, param)
    return path


def wants_json(as_json: bool | None) -> bool:
    """What was asked for, or what fits where the answer goes."""
    if as_json is not None:
        return as_json
    return not sys.stdout.isatty()

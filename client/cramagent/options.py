"""How values are written on the command line, in the environment and in the settings file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cramagent.policy.settings import PAGE_BYTES, Budget
from cramwire.traces import parse_endpoint
from cramwire.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum
    from pathlib import Path

F = TypeVar("F", bound="Callable[..., Any]")

ENVIRONMENT = "CRAM_AGENT_"
TOKEN_VARIABLE: Final = "CRAM_AGENT_TOKEN"  # noqa: S105 - the variable's name
"""No option: what is on a command line can be seen by everybody."""
_FROM_KUBERNETES: Final = re.compile(r"CRAM_AGENT_(SERVICE_(HOST|PORT.*)|PORT(_.*)?)")
"""What it sets for a Service of this name."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes, or a share of the source."""

    size: int = 0
    percent: float = 0.0

    @property
    def is_nothing(self) -> bool:
        """A size of 0."""
        return not (self.size or self.percent)

    def pages(self, source_pages: int) -> int:
        """In whole pages, rounded up; at least one."""
        if self.percent:
            return max(1, round(source_pages * self.percent / 100))
        return max(1, -(-self.size // PAGE_BYTES))


class SizeType(click.ParamType[int]):
    """`64MiB` -> bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        try:
            return parse_bytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class AmountType(click.ParamType[Amount]):
    """`64MiB` or `25%` -> Amount."""

    name = "size|percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        """A size, or a share above 0 of the source."""
        if isinstance(value, Amount):
            return value
        text = str(value)
        try:
            if not text.endswith("%"):
                return Amount(size=parse_bytes(text))
            percent = float(text.removesuffix("%"))
        except ValueError as error:
            self.fail(f"{error}; or a share of the source: 25%", param, ctx)
        if not 0 < percent <= 100_000:
            self.fail(f"{text!r} is not a share: write 25%", param, ctx)
        return Amount(percent=percent)


class BudgetType(click.ParamType[int | Budget]):
    """`64` -> pages; `tokens` -> Budget.TOKENS."""

    name = "pages|tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Budget:
        """How many pages may be writable, or that the device says how many."""
        if value is Budget.TOKENS or value == Budget.TOKENS.value:
            return Budget.TOKENS
        try:
            pages = int(value)
        except ValueError:
            pages = -1
        if pages < 0:
            self.fail(f"{value!r} is not a number of pages from 0 on, or `tokens`", param, ctx)
        return pages


class TimeType(click.ParamType[int]):
    """`1.5s` -> ns; `0` needs no unit."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Ns."""
        text = str(value)
        try:
            return 0 if text == "0" else parse_duration(text)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class OtlpType(click.ParamType[str]):
    """`http://collector:4318` -> where spans are posted."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The whole URL."""
        try:
            return parse_endpoint(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def option(name: str, text: str, **rest: Any) -> Callable[[F], F]:
    """An option that the environment (CRAM_AGENT_NAME) and the settings file may give, too."""
    variable = ENVIRONMENT + name.removeprefix("--").replace("-", "_").upper()
    rest.setdefault("show_default", rest.get("default") is not None and not rest.get("is_flag"))
    return click.option(name, help=text, envvar=variable, **rest)


def refuse_unknown(ctx: click.Context, environment: Mapping[str, str]) -> None:
    """Nobody shall think that a misspelt variable does something.

    Raises:
        click.UsageError: there is a CRAM_AGENT_* that is none of ours, nor one that Kubernetes sets.
    """
    known = {parameter.envvar for parameter in ctx.command.params} | {TOKEN_VARIABLE}
    for variable in sorted(environment):
        ours = variable.startswith(ENVIRONMENT) and not _FROM_KUBERNETES.fullmatch(variable)
        if ours and variable not in known:
            raise click.UsageError(f"{variable}: there is no such option")


def choice(kind: type[Enum]) -> click.Choice[str]:
    """The values of an enum, as words."""
    return click.Choice([each.value for each in kind])


def read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    """A settings file: its keys are the options' names; options and the environment win over it.

    Raises:
        click.BadParameter: the file cannot be read, or names what is no option.
    """
    if path is None:
        return
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path}: {error}") from error
    known = {parameter.name for parameter in ctx.command.params} - {"config"}
    several = {parameter.name for parameter in ctx.command.params if getattr(parameter, "multiple", False)}
    values = {key.replace("-", "_"): value for key, value in given.items()}
    unknown = sorted(set(values) - known)
    if unknown:
        raise click.BadParameter(f"{path}: no such option: {', '.join(unknown)}")
    for key in several & values.keys():
        given_once = isinstance(values[key], str)
        values[key] = (values[key],) if given_once else values[key]
    kinds = {key: dict if key in several else (dict, list) for key in values}
    tables = sorted(key for key, value in values.items() if isinstance(value, kinds[key]))
    if tables:
        raise click.BadParameter(f"{path}: {', '.join(tables)} has one value, not several")
    for parameter in ctx.command.params:
        value = values.get(parameter.name or "")
        if isinstance(value, bool) and not getattr(parameter, "is_flag", False):
            raise click.BadParameter(f"{path}: {parameter.name} is neither true nor false")
        if isinstance(value, float) and isinstance(parameter.type, (type(click.INT), BudgetType)):
            raise click.BadParameter(f"{path}: {parameter.name}: {value} is not a whole number")
    ctx.default_map = {**(ctx.default_map or {}), **values}

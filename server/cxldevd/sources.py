"""Where settings come from: command line, environment, TOML file, in this order of precedence."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cxldev.errors import ConfigError
from cxldevd.settings import TABLE, Setting, Settings, SettingsError, build

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PREFIX: Final = "CXLDEVD_"
CONFIG_VARIABLE: Final = "CXLDEVD_CONFIG"
_FROM_KUBERNETES: Final = re.compile(r"CXLDEVD_(SERVICE_(HOST|PORT.*)|PORT(_.*)?)")
"""Kubernetes sets these in every pod beside a Service named cxldevd: they are not ours."""


@dataclass(frozen=True, slots=True)
class _Given:
    """One setting as somebody wrote it."""

    source: str
    text: str


def resolve(flags: Mapping[str, str | None], environment: Mapping[str, str], config: Path | None) -> Settings:
    """Settings as given: a flag beats the environment, which beats the file, which beats the default.

    Args:
        flags: by the table's names; None is not given.
        environment: all of it; only CXLDEVD_* is looked at.
        config: the TOML file of --config; None: that of CXLDEVD_CONFIG, if set.

    Raises:
        SettingsError: one line that names the source of what is wrong.
    """
    if config is None and CONFIG_VARIABLE in environment:
        config = Path(environment[CONFIG_VARIABLE])
    # Later ones win. What is overridden must still be right: it would bite on another day.
    given: dict[str, _Given] = {}
    values: dict[str, Any] = {}
    for layer in (_from_file(config), _from_environment(environment), _from_flags(flags)):
        for setting, one in layer:
            try:
                values[setting.name] = setting.kind.parse(one.text)
            except ValueError as error:
                raise SettingsError(f"{one.source}: {error}") from None
            given[setting.name] = one
    return _build(values, given)


def _build(values: Mapping[str, Any], given: Mapping[str, _Given]) -> Settings:
    try:
        return build(values)
    except (ConfigError, SettingsError) as error:
        reason = _without_repr(error)
    # Whose is it? Those that break the same rule when they are the only one set; else nobody's alone.
    guilty = [name for name, value in values.items() if _same_rule(_reason_alone(name, value), reason)]
    sources = ", ".join(given[name].source for name in guilty or given)
    raise SettingsError(f"{sources}: {reason}")


def _reason_alone(name: str, value: Any) -> str:
    try:
        build({name: value})
    except (ConfigError, SettingsError) as error:
        return _without_repr(error)
    return ""


def _same_rule(one: str, other: str) -> bool:
    """Whether two messages differ in their numbers only."""
    return re.sub(r"\d+", "N", one) == re.sub(r"\d+", "N", other)


def _without_repr(error: Exception) -> str:
    """The rule that was broken, without the whole configuration that the device adds to it."""
    return str(error).partition(": DeviceConfig(")[0]


def _from_flags(flags: Mapping[str, str | None]) -> Iterator[tuple[Setting, _Given]]:
    for name, text in flags.items():
        if text is not None:
            yield TABLE[name], _Given(TABLE[name].flag, text)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[Setting, _Given]]:
    known = {setting.variable: setting for setting in TABLE.values()}
    for variable, text in sorted(environment.items()):
        if (setting := known.get(variable)) is not None:
            yield setting, _Given(variable, text)
        elif (
            variable.startswith(_PREFIX)
            and variable != CONFIG_VARIABLE
            and not _FROM_KUBERNETES.fullmatch(variable)
        ):
            raise SettingsError(f"{variable}: there is no such setting; `cxldevd --help` lists them")


def _from_file(path: Path | None) -> Iterator[tuple[Setting, _Given]]:
    if path is None:
        return
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    for key, value in content.items():
        source = f"{path}: {key}"
        if key not in TABLE:
            raise SettingsError(f"{source}: there is no such setting; `cxldevd --help` lists them")
        if not isinstance(value, str | int | float):
            raise SettingsError(f"{source}: write one value, not {type(value).__name__}")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield TABLE[key], _Given(source, text)

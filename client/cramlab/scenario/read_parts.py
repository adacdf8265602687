"""The device and the hosts of a scenario file, checked as `cxldevd` and `cram-agent` check their options."""

from __future__ import annotations

import re
import zlib
from copy import copy
from typing import TYPE_CHECKING, Any, Final, cast

import click

from cramagent.cli import run as agent_run
from cramagent.parts import policy_settings, synthetic
from cramagent.patterns import PatternError, parse_pattern
from cramagent.policy.settings import SettingError
from cramagent.sources import SourceError
from cramagent.sources.synthetic import SyntheticSource
from cramlab import programs
from cramlab.scenario.model import DEVICE, DeviceSpec, HostSpec, StartHost, Step, StopHost, WireTimes
from cxldev.errors import ConfigError
from cxldevd.settings import TABLE, SettingsError, build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.parts import Options
    from cramlab.scenario.table import Table

_NOT_OF_A_DEVICE: Final = frozenset(
    (
        *("listen", "operator", "metrics", "insecure", "ready-file", "seed"),
        *("log-format", "log-level", "otlp-endpoint"),
    )
)
"""Settings that the one who runs the scenario makes."""
_NOT_OF_A_HOST: Final = frozenset(
    (
        *("config", "device", "placement", "host", "metrics", "json", "ready-file", "quiet", "duration"),
        *("swap-dir", "log-format", "log-level", "otlp-endpoint", "help"),
    )
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,55}", re.ASCII)
_PROGRAM: Final = "program:"
_MOST_HOSTS: Final = 64


def _deaf(option: click.Parameter) -> click.Parameter:
    """The same option; what the environment says is not in the file."""
    same = copy(option)
    same.envvar = None
    return same


_COMMAND: Final = click.Command("run", params=[_deaf(option) for option in agent_run.params])
_AGENT: Final = {
    name: option
    for option in _COMMAND.params
    if (name := option.opts[0].removeprefix("--")) not in _NOT_OF_A_HOST
}
"""Options that a scenario may give, by name."""


def read_device(table: Table) -> DeviceSpec:
    """`[device]`: any setting of `cxldevd` but where it serves and what it logs."""
    known = [name for name in TABLE if name not in _NOT_OF_A_DEVICE]
    given: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name in known:
        if name in table:
            values[name] = table.parsed(name, TABLE[name].kind.parse)
            given[name] = _text(table.raw(name))
    table.finish(known)
    try:
        return DeviceSpec(build(values), given)
    except (ConfigError, SettingsError) as error:
        table.fail(str(error).partition(": DeviceConfig(")[0])


def read_wire(table: Table) -> WireTimes:
    """`[wire]`: what messages take in emulated time; a live run has the machine's own wire."""
    usual = WireTimes()
    jitter_milli = table.parsed("jitter", _parse_jitter) if "jitter" in table else usual.jitter_milli
    times = WireTimes(
        data_ns=table.duration("data", usual.data_ns),
        control_ns=table.duration("control", usual.control_ns),
        event_ns=table.duration("event", usual.event_ns),
        jitter_milli=jitter_milli,
    )
    table.finish()
    return times


def _parse_jitter(text: str) -> int:
    """`0.2` -> 200 per mille. Raises ValueError."""
    share = float(text)
    if not 0 <= share <= 10:
        raise ValueError(f"{text} is not 0 to 10: 0.2 makes a message take up to a fifth longer")
    return round(share * 1000)


def read_hosts(root: Table, seed: int, duration_ns: int) -> Iterator[tuple[HostSpec, list[Step]]]:
    """`[host.NAME]`, each `count` times, with the steps that its `start` and `stop` ask for.

    Args:
        root: the whole file.
        seed: the scenario's; hosts that name none draw theirs from it.
        duration_ns: of the scenario.
    """
    total = 0
    for group, table in root.named_tables("host"):
        if not _NAME.fullmatch(group) or group == DEVICE:
            table.fail(
                f"{group!r} is no name of a host: 1 to 56 characters of a-z, A-Z, 0-9, '.', '-', '_', "
                f"and not {DEVICE!r}"
            )
        count = table.whole("count", 1)
        total += count
        if not count or total > _MOST_HOSTS:
            table.fail(f"a scenario has 1 to {_MOST_HOSTS} hosts, not {total}", "count")
        start, stop = table.duration("start", 0), table.duration("stop", None)
        if stop is not None and stop <= start:
            table.fail("a host stops after it started", "stop")
        for key, at_ns in (("start", start), ("stop", stop)):
            if at_ns is not None and at_ns > duration_ns:
                table.fail("is after the scenario's end", key)
        names = [group] if count == 1 else [f"{group}-{number}" for number in range(1, count + 1)]
        for name in names:
            steps = [Step(start, StartHost(name), table.line("start"))] if start else []
            if stop is not None:
                steps.append(Step(stop, StopHost(name), table.line("stop")))
            yield _host(table, name, group, seed, from_start=not start), steps


def _host(table: Table, name: str, group: str, seed: int, *, from_start: bool) -> HostSpec:
    given = _given(table)
    source, program = _source(table, given)
    # A host that joins later must not change what the others draw: so by name, not by place.
    given.setdefault("seed", str(zlib.crc32(f"{seed}/{name}".encode())))
    argv = ["--device", "none", "--host", name, "--quiet"]
    for flag, value in {**given, "source": source}.items():
        argv += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
    try:
        params = _COMMAND.make_context("cram-agent run", argv).params
    except click.UsageError as error:
        table.fail(error.format_message())
    options = cast("Options", {key: value for key, value in params.items() if key != "host"})
    _check(table, options)
    return HostSpec(name, group, options, given, program, from_start)


def _given(table: Table) -> dict[str, str | bool]:
    """What the file says, each value as the command line takes it."""
    given: dict[str, str | bool] = {}
    context = click.Context(_COMMAND)
    for name, option in _AGENT.items():
        if name not in table:
            continue
        value = table.raw(name)
        if isinstance(option, click.Option) and option.is_flag:
            if not isinstance(value, bool):
                table.fail(f"{value!r} is not true or false", name)
            if value:
                given[name] = True
            continue
        if isinstance(value, (bool, list, dict)):
            table.fail(f"{value!r} is not one value", name)
        given[name] = _text(value)
        try:
            option.type_cast_value(context, given[name])
        except click.BadParameter as error:
            table.fail(error.message, name)
    table.finish(_AGENT)
    return given


def _source(table: Table, given: dict[str, str | bool]) -> tuple[str, str | None]:
    """The source as `cram-agent` takes it, and the program behind it."""
    source = str(given.setdefault("source", "synthetic"))
    if source == "synthetic":
        return source, None
    if source.startswith(_PROGRAM):
        program = source.removeprefix(_PROGRAM)
        if program not in programs.NAMES:
            table.fail(f"there is no program {program!r}; there is {', '.join(programs.NAMES)}", "source")
        # Its process number is known once it runs.
        return "pid:0", program
    kind, _, name = source.partition(":")
    if kind in {"core", "file"} and name:
        path = (table.file.parent / name).resolve()
        if not path.is_file():
            table.fail(f"there is no file {path}", "source")
        given["source"] = f"{kind}:{path}"
        return f"{kind}:{path}", None
    return table.fail(f"{source!r} is none of synthetic, program:NAME, core:FILE, file:PATH", "source")


def _check(table: Table, options: Options) -> None:
    """What `cram-agent` would find out only once it runs."""
    try:
        parse_pattern(options["pattern"], options["seed"])
        source = SyntheticSource(synthetic(options))
        if options["source"] == "synthetic":
            policy_settings(options, source)
    except (SettingError, PatternError, SourceError) as error:
        table.fail(str(error))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

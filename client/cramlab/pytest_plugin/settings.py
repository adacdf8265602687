"""Where a device's and a host's settings come from: the ini file, markers, keywords; later ones win."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from cramlab.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cramlab.processes import ManagedProcess

DEVICE: Final = "cxl_device"
AGENT: Final = "cxl_agent"
_INI: Final = {DEVICE: "cxl_device_settings", AGENT: "cxl_agent_settings"}
_COMMAND: Final = {DEVICE: "cxldevd", AGENT: "cram-agent run"}
_EXAMPLE: Final = {DEVICE: 'physical="16MiB"', AGENT: 'pages=2000, dram="25%"'}
_TAKEN: Final = {
    DEVICE: {"ready-file": "the fixture waits for it", "config": "write the settings themselves"},
    AGENT: {
        "device": "give a device to cxl_agent_factory",
        "ready-file": "the fixture waits for it",
        "json": "the report is what stop() returns",
        "config": "write the options themselves",
    },
}
"""What cannot be set, and why not."""


def add_ini(parser: pytest.Parser) -> None:
    """`cxl_device_settings` and `cxl_agent_settings`."""
    for what, name in _INI.items():
        parser.addini(
            name, f"settings of every {what}, NAME = VALUE, as {_COMMAND[what]} takes them", "linelist"
        )


def add_markers(config: pytest.Config) -> None:
    """`@pytest.mark.cxl_device(...)` and `@pytest.mark.cxl_agent(...)`."""
    for what, command in _COMMAND.items():
        line = (
            f"{what}(**settings): settings of this test's {what}, as `{command}` has them: {_EXAMPLE[what]}"
        )
        config.addinivalue_line("markers", line)


def check_markers(item: pytest.Item) -> None:
    """A marker on a test itself that no fixture of it reads is a mistake: the test fails."""
    fixtures = set(getattr(item, "fixturenames", ()))
    for marker in item.own_markers:
        if marker.name not in _COMMAND:
            continue
        if marker.args:
            example = f"@pytest.mark.{marker.name}({_EXAMPLE[marker.name]})"
            pytest.fail(f"the marker {marker.name} takes keywords: {example}", pytrace=False)
        if not fixtures & {marker.name, f"{marker.name}_factory"}:
            shared = f"cxl_session_{marker.name.removeprefix('cxl_')}"
            why = (
                f"{shared} is started once for all tests: set it up with {_INI[marker.name]} in the ini file"
                if shared in fixtures
                else f"the test asks for no fixture {marker.name}"
            )
            pytest.fail(f"the marker {marker.name} changes nothing: {why}", pytrace=False)


def merged(
    what: str, config: pytest.Config, node: pytest.Item | None, given: Mapping[str, object]
) -> dict[str, object]:
    """Settings of a device or a host (`what`: DEVICE or AGENT) by flag, without the dashes.

    Args:
        what: DEVICE or AGENT.
        config: of the suite; its ini file comes first.
        node: the test whose markers come next, if there is one.
        given: what wins.
    """
    settings: dict[str, object] = dict(_from_ini(what, line) for line in config.getini(_INI[what]))
    markers = [] if node is None else list(node.iter_markers(what))
    # The closest marker comes first, and wins.
    for layer in (*(marker.kwargs for marker in reversed(markers)), given):
        settings.update({name.replace("_", "-"): value for name, value in layer.items()})
    for name in settings.keys() & _TAKEN[what].keys():
        pytest.fail(f"{what}: {name} cannot be set: {_TAKEN[what][name]}", pytrace=False)
    return settings


def arguments(settings: Mapping[str, object]) -> list[str]:
    """As a command line. True is a switch; False and None: not given."""
    words = []
    for name, value in settings.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words


def start(process: ManagedProcess) -> None:
    """Start it and wait until it serves. What is wrong fails the test, in the process' own words."""
    try:
        process.start()
        process.wait_ready()
    except ProcessError as error:
        wrong = str(error)
        process.kill()
    else:
        return
    pytest.fail(wrong, pytrace=False)


def _from_ini(what: str, line: str) -> tuple[str, object]:
    name, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not name:
        raise pytest.UsageError(f"{_INI[what]}: {line!r} is not NAME = VALUE, such as physical = 16MiB")
    return name.replace("_", "-"), {"true": True, "false": False}.get(value, value)

"""The command line of `cramctl`. Each command's module is loaded when it is asked for, so it starts fast."""

from __future__ import annotations

import errno
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "status": ("cramctl.observe:status", "Show the device, its regions and its armed faults."),
    "events": ("cramctl.observe:events", "Print the device's events as they happen."),
    "top": ("cramctl.top:top", "Watch the device live: media, hosts, faults, events."),
    "inject": ("cramctl.inject:inject", "Inject a fault into a live device."),
    "clear": ("cramctl.inject:clear", "Clear a fault, or all of them."),
    "region": ("cramctl.region:region", "Grow, shrink and re-share the regions of hosts."),
    "faults": ("cramctl.inject:faults", "List the faults that are armed."),
    "demo": ("cramlab.demo.command:demo", "One device, three hosts, real programs: fill, exhaust, recover."),
    "scenario": ("cramlab.scenario.command:scenario", "Hosts, faults on a timeline, what must hold."),
    "soak": ("cramlab.soak.command:soak", "Hurt a device and many hosts at random for minutes; verify all."),
    "bench": ("cramlab.bench.command:bench", "Measure the device against plain zstandard."),
}
"""Name -> where its click command is (module:attribute), and its line in the list of commands."""


_INTERRUPTED: Final = 130
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a disk says that takes no more of an answer or a result."""


def _is_here(command: str) -> bool:
    """Whether the package is installed that the command is in: an image of a device has no hosts to start."""
    return importlib.util.find_spec(_COMMANDS[command][0].partition(".")[0]) is not None


class _LazyGroup(click.Group):
    """Knows its commands by name and line, and imports one only when it is run."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Ctrl-C and a full disk end every one alike, without a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            where = error.filename or "standard output"
            raise click.ClickException(f"{where} cannot be written: {error.strerror}") from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for name in _COMMANDS if _is_here(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        if not _is_here(cmd_name):
            raise click.ClickException(
                f"{cmd_name} is not in this installation, which is for operators alone: it starts devices "
                "and hosts of its own; install all of cramulator for it (pip install cramulator)"
            )
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command), command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items() if _is_here(name)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cramulator")
def main() -> None:
    """Operate a compressed memory device (cxldevd), and try it out.

    Exit codes: 0 done, 1 refused or not reachable, 2 wrong usage, 130 interrupted.

    \b
    Example:
      cramctl status
      cramctl inject exhaustion --share 0.5
      cramctl events
    """  # noqa: D301 - click's mark: keep these lines as they are


if __name__ == "__main__":
    main()

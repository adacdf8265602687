"""The command line of `cxldevd`, made from the table of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from cxldevd import kinds
from cxldevd.settings import GROUPS, TABLE

CONFIG: Final = "config"
CONFIG_HELP: Final = 'Settings from a TOML file, keys as the flags: physical = "64GiB".'

_PREAMBLE: Final = """\
A compressed CXL memory device as a gRPC service: real pages, real compression, media that can run out.

Every setting can be given as a flag, as an environment variable (--trim-delay is CXLDEVD_TRIM_DELAY)
or as a key of the TOML file of --config (trim-delay = "20ms"); a flag beats the environment, which beats
the file. Sizes: 4096, 64KiB, 512M, 1.5GiB. Times: 250ns, 1.5us, 20ms, 3s, 5min, 1h.
"""

_EXAMPLE: Final = """\
cxldevd --physical 64MiB --zratio 3000 --listen unix:/run/cxl0.sock
cxldevd --config device.toml --exhaustion-mode poison --log-format json
CXLDEVD_PHYSICAL=4GiB cxldevd --listen 127.0.0.1:0 --ready-file ready.json
"""


class GroupedCommand(click.Command):
    """A command whose help shows the settings in groups, each with its unit and default."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, what it is, an example, then every setting."""
        self.format_usage(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            for paragraph in _PREAMBLE.strip().split("\n\n"):
                formatter.write_text(paragraph)
                formatter.write_paragraph()
        with formatter.section("Examples"):
            for line in _EXAMPLE.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        for title, settings in GROUPS:
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (
                            f"{setting.flag} {setting.kind.metavar}".rstrip(),
                            f"{setting.help}  [{setting.default_text}]",
                        )
                        for setting in settings
                    ]
                )
        with formatter.section("Other"):
            formatter.write_dl(
                [
                    ("--config FILE", CONFIG_HELP),
                    ("--version", "Show the version and exit."),
                    ("-h, --help", "Show this and exit."),
                ]
            )


def parameters() -> list[click.Parameter]:
    """One option for each setting, as text: it is parsed where all sources come together."""
    options: list[click.Parameter] = [
        click.Option([f"--{CONFIG}"], type=click.Path(path_type=Path), metavar="FILE", help=CONFIG_HELP)
    ]
    for setting in TABLE.values():
        if setting.kind is kinds.SWITCH:
            options.append(click.Option([setting.flag], flag_value="on", default=None, help=setting.help))
        else:
            options.append(
                click.Option([setting.flag], type=str, metavar=setting.kind.metavar, help=setting.help)
            )
    return options

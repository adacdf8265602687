"""docs/identity.md tells the limits that a device has."""

from __future__ import annotations

import re
from pathlib import Path

from cxldevd.settings import TABLE

PAGE = Path(__file__).parents[2] / "docs/identity.md"


def test_the_defaults_of_the_table_are_those_of_the_settings() -> None:
    """Each setting of a row in turn, as `cxldevd --help` shows it."""
    defaults = {setting.flag: setting.default_text for setting in TABLE.values()}
    limits = PAGE.read_text().partition("## Limits")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in limits.splitlines() if line.startswith("| ")]
    told: dict[str, str] = {}
    for _, settings, values in rows[1:]:
        flags = re.findall(r"`(--[\w-]+)`", settings)
        told |= dict(zip(flags, values.replace(" MiB", "MiB").split(", "), strict=True))
    assert len(told) > 10
    assert told == {flag: defaults[flag] for flag in told}

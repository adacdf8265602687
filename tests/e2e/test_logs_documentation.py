"""What `docs/logs.md` says of the events is what the code writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cxldevd.event_lines import EVENT_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OWN_LINES = {"lines_suppressed", "lines_dropped"}
"""Written by what both sides share."""
WRITERS = {"log_event", "log_often", "tell", "_tell", "often", "_changed", "changed"}
FROM_TABLES = {
    "server/cxldevd/event_lines.py": set(EVENT_NAMES),
    "client/cramagent/node_keeper.py": {"node_closed", "node_opened"},
    "client/cramagent/node_log.py": {"no_more_writes", "pages_lost"},
    "client/cramagent/run_log.py": {"bus_error_kill", "bus_error_rescue"},
}
"""Files that write events whose names stand in tables."""


def written(package: str) -> set[str]:
    """Every event that the code of a package writes."""
    found = set(OWN_LINES)
    for path in sorted((ROOT / package).rglob("*.py")):
        found |= FROM_TABLES.get(str(path.relative_to(ROOT)), set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and name_of(node.func) in WRITERS:
                found |= set(words(node.args[0]))
    return found


def name_of(function: ast.expr) -> str:
    """How a function is called: `tell`, of `self.tell`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def words(argument: ast.expr) -> Iterator[str]:
    """The names that an argument can be, where they stand there."""
    match argument:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=other):
            yield from words(body)
            yield from words(other)


def documented(title: str) -> set[str]:
    """Every event that a section of the page names."""
    text = (ROOT / "docs" / "logs.md").read_text()
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [row for row in section.splitlines() if row.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("title", "package"),
    [("Events of the device", "server/cxldevd"), ("Events of an agent", "client/cramagent")],
)
def test_every_event_is_documented(title: str, package: str) -> None:
    """And nothing that no line says."""
    assert documented(title) == written(package)

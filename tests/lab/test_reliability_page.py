"""The table of promises names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def names_in(path: Path) -> set[str]:
    """What a module defines or assigns at its top."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_each_promise_is_held_by_a_test_that_is_there() -> None:
    """Every row of the tables names one, and every name is found."""
    rows = [line for line in (ROOT / "docs/reliability.md").read_text().splitlines() if "| `tests/" in line]
    assert len(rows) > 25
    for row in rows:
        for path, name in NAMED.findall(row):
            assert name in names_in(ROOT / path), f"{path}::{name}"


def test_every_promise_has_a_test() -> None:
    """No row of the first part is without one."""
    promises = (ROOT / "docs/reliability.md").read_text().partition("## The soak")[0]
    heads = {"| promise | held by |", "|---|---|"}
    rows = [line for line in promises.splitlines() if line.startswith("|") and line not in heads]
    assert [row for row in rows if not NAMED.search(row)] == []

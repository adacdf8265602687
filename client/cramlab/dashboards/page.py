"""The part of docs/grafana.md that lists every panel, written from the dashboards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BEGIN: Final = "<!-- panels: written by make dashboards -->"
END: Final = "<!-- end of panels -->"


def with_panels(page: str, files: Mapping[str, str]) -> str:
    """The page, with what stands between its two marks written anew.

    Raises:
        ValueError: the page has no such marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    listed = "\n".join(line for text in files.values() for line in _listed(json.loads(text)))
    return f"{before}{BEGIN}\n{listed}\n\n{END}{after}"


def _listed(dashboard: dict[str, Any]) -> Iterator[str]:
    yield f"\n### {dashboard['title']}\n"
    yield f"{dashboard['description']} `/d/{dashboard['uid']}`\n"
    yield "| panel | what it says, and what to do |"
    yield "|---|---|"
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield f"| **{panel['title']}** | |"
        else:
            yield f"| {panel['title']} | {' '.join(panel['description'].split())} |"

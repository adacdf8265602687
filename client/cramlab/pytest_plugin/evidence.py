"""The logs of a test's processes, kept at hand until it is known whether the test failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from cramlab.processes import ManagedProcess

_MOST_LINES: Final = 200
"""Of each log: the end of it. The whole is in the file that the section names."""


@dataclass(slots=True)
class _Watched:
    """Whose logs go with a report, and where each one began when the test did."""

    own: list[ManagedProcess] = field(default_factory=list)
    began_at: dict[str, int] = field(default_factory=dict)
    """Bytes that the log of a shared process had already, by its fixture."""


_OF_TEST: Final = pytest.StashKey[_Watched]()
_SHARED: Final = pytest.StashKey[dict[str, "ManagedProcess"]]()


def watch(item: pytest.Item, process: ManagedProcess) -> None:
    """A process of one test."""
    item.stash[_OF_TEST].own.append(process)


def watch_shared(config: pytest.Config, fixture: str, process: ManagedProcess) -> None:
    """A process of all tests that use this fixture."""
    config.stash.setdefault(_SHARED, {})[fixture] = process


def begin(item: pytest.Item) -> None:
    """A test begins."""
    watched = item.stash.setdefault(_OF_TEST, _Watched())
    for fixture, process in item.config.stash.get(_SHARED, {}).items():
        if process.log_path.exists():
            watched.began_at[fixture] = process.log_path.stat().st_size


def attach(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add a section for each process to the report of a phase that failed."""
    if not report.failed:
        return
    watched = item.stash.get(_OF_TEST, _Watched())
    for process in watched.own:
        _add(report, process, 0)
    used = getattr(item, "fixturenames", ())
    for fixture, process in item.config.stash.get(_SHARED, {}).items():
        if fixture in used:
            _add(report, process, watched.began_at.get(fixture, 0))


def _add(report: pytest.TestReport, process: ManagedProcess, start: int) -> None:
    lines = process.log_text(start).splitlines()
    if len(lines) > _MOST_LINES:
        lines = [f"({len(lines) - _MOST_LINES} lines before)", *lines[-_MOST_LINES:]]
    report.sections.append((f"{process.name} log, {process.log_path}", "\n".join(lines)))

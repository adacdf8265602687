"""A soak as somebody sees it: a bar on a terminal, a line now and then elsewhere; and what it came to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cramlab.soak.judge import as_json
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from rich.console import Console

    from cramlab.soak.growth import Growth
    from cramlab.soak.run import Outcome
    from cramwire.v1 import operator_pb2

_LINE_EVERY_S: Final = 5.0


class View:
    """Steps go to a log; what people see is how far it is and how everybody stands.

    Args:
        console: where to.
        seconds: how long the soak takes.
        hosts: how many there are.
        log: where every step is noted.
        clock: s, from any beginning.
    """

    def __init__(
        self,
        console: Console,
        seconds: float,
        hosts: int,
        log: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._seconds = seconds
        self._hosts = hosts
        self._log = log
        self._clock = clock
        self._said_s = clock() - _LINE_EVERY_S
        self._latest = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(24),
            TextColumn("{task.fields[stand]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("soak", total=seconds, stand="starting")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def said(self, at_s: float, text: str) -> None:
        """A step was done, or something is wrong: into the log, and shown with the next line."""
        with self._log.open("a") as log:
            log.write(f"[{at_s:8.2f} s] {text}\n")
        self._latest = text.splitlines()[0]
        if text.startswith("WRONG"):
            self._console.print(self._latest, style="red", markup=False, highlight=False, soft_wrap=True)

    def looked(
        self, at_s: float, serving: int, status: operator_pb2.GetStatusResponse, problems: int
    ) -> None:
        """How everybody stands."""
        now = status.telemetry
        stand = (
            f"{serving}/{self._hosts} hosts, media {format_bytes(now.media_used_bytes)} used, "
            f"{len(status.faults)} faults, {problems} wrong; {self._latest}"
        )
        self._bar.update(self._task, completed=at_s, stand=stand)
        if not self._console.is_terminal and self._clock() - self._said_s >= _LINE_EVERY_S:
            self._said_s = self._clock()
            line = f"[{at_s:6.1f} of {self._seconds:g} s] {stand}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def show_result(console: Console, outcome: Outcome) -> None:
    """What was done and found, for people; every problem is one line."""
    told = as_json(outcome)
    table = Table(title=f"soak, {outcome.plan.seconds:g} s, seed {outcome.seed}", show_header=False)
    table.add_column()
    table.add_column()
    table.add_row("pages verified", f"{told['pages_verified']}, {told['pages_mismatched']} wrong")
    table.add_row("pages lost, as they had to be", str(told["pages_lost"]))
    table.add_row("lives of hosts", f"{told['lives']}, of {told['hosts']} hosts")
    back = told["device_restarts"]
    table.add_row(
        "device back", f"{back['same_generation']} times as it was, {back['new_generation']} times anew"
    )
    table.add_row("faults and kills", str(sum(outcome.done.values())))
    held = outcome.media_used_bytes
    table.add_row("media held in the end", "unknown" if held is None else format_bytes(held))
    for growth in outcome.growth:
        table.add_row(f"{growth.process}, last {growth.window_s:.0f} s", told_growth(growth))
    console.print(table)
    for problem in outcome.problems:
        line = f"WRONG: {problem.splitlines()[0]}"
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def told_growth(growth: Growth) -> str:
    """What a process took late in its window, how that went, and what it may be."""
    grew, bound = growth.memory_growth_bytes / 2**20, growth.memory_bound_bytes / 2**20
    per_minute = grew / growth.window_s * 60
    warming = ": it still warms up" if growth.warming else ""
    memory = (
        f"memory {format_bytes(growth.memory_bytes)}: {grew:+.1f} MiB, {per_minute:+.2f} a minute "
        f"(at most {bound:+.1f}{warming})"
    )
    counts = (
        f"{growth.threads} threads: {growth.threads_growth:+.1f}, {growth.files} files: "
        f"{growth.files_growth:+.1f} (at most {growth.count_bound:+d} each)"
    )
    return f"{memory}\n{counts}"

"""A run as somebody sees it: live on a terminal, a few lines elsewhere; and what it came to."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cramlab.scenario.expectation import Figure, Window
from cramlab.scenario.figures import evaluate_figure
from cramlab.scenario.model import DEVICE
from cramlab.scenario.timing import shown_ns
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from rich.console import Console

    from cramlab.scenario.evaluate import Verdict
    from cramlab.scenario.measurements import Measurements
    from cramlab.scenario.model import Scenario

_LINE_EVERY_S: Final = 5.0
_REDRAW_EVERY_S: Final = 0.2
_NEWS: Final = 8
_BAR_CELLS: Final = 48
_LEVELS: Final = ("", "above high", "high", "medium", "low", "critical")
_COLUMNS: Final = (
    ("DRAM\npages", Figure("cram_pages", {"state": "dram"})),
    ("node\nMiB", Figure("cram_node_used_bytes")),
    ("swap\npages", Figure("cram_pages", {"state": "swapped"})),
    ("\nwritable", Figure("cram_writable_pages")),
    ("\ndemoted", Figure("cram_demotions_total", {"outcome": "ok"})),
    ("\npromoted", Figure("cram_promotions_total")),
    ("written\nback", Figure("cram_writebacks_total")),
    ("\nlost", Figure("cram_pages_lost_total")),
    ("\npressure", Figure("cram_pressure")),
)


class LineView:
    """One line for each step, and one every few seconds between."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._said_s = clock()
        self._stored = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def filling(self, stored: int, hosts: int) -> None:
        """Say when one more host has stored all its pages."""
        if stored != self._stored:
            self._stored = stored
            self._print(f"filling: {stored} of {hosts} hosts have stored their pages")

    def sampled(self, at_ns: int, measured: Measurements) -> None:
        """Now and then, say how the device stands."""
        if self._clock() - self._said_s >= _LINE_EVERY_S:
            self.said(at_ns, _device_line(measured))

    def said(self, at_ns: int, text: str) -> None:
        """Say it."""
        self._print(f"[{shown_ns(at_ns):>10}] {text}")

    def _print(self, text: str) -> None:
        self._said_s = self._clock()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """The device, every host, and what happened last, redrawn with the samples."""

    def __init__(
        self, console: Console, scenario: Scenario, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._scenario = scenario
        self._clock = clock
        self._drawn_s = clock() - _REDRAW_EVERY_S
        self._at_ns = 0
        self._news: deque[Text] = deque(maxlen=_NEWS)
        self._measured: Measurements | None = None
        self._filling = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def filling(self, stored: int, hosts: int) -> None:
        """Show how many hosts have stored all their pages."""
        self._filling = f"filling: {stored} of {hosts} hosts have stored their pages"
        self._draw()

    def sampled(self, at_ns: int, measured: Measurements) -> None:
        """Show the newest figures."""
        self._at_ns, self._measured, self._filling = at_ns, measured, ""
        self._draw()

    def said(self, at_ns: int, text: str) -> None:
        """Show it among the news."""
        self._news.append(Text.assemble((f"{shown_ns(at_ns):>10} ", "dim"), text))
        self._draw()

    @property
    def renderable(self) -> Group:
        """What is on the screen now."""
        head = f"{self._scenario.name}: {shown_ns(self._at_ns)} of {shown_ns(self._scenario.duration_ns)}"
        parts: list[Table | Text] = [Text(head, "bold"), Text(self._scenario.question, "italic")]
        if self._filling:
            parts.append(Text(self._filling))
        if self._measured is not None:
            parts += [_media_bar(self._measured), Text(_device_line(self._measured)), Text()]
            parts += [self._hosts(self._measured), Text()]
        return Group(*parts, *self._news)

    def _draw(self) -> None:
        if self._clock() - self._drawn_s >= _REDRAW_EVERY_S:
            self._drawn_s = self._clock()
            self._live.update(self.renderable)

    def _hosts(self, measured: Measurements) -> Table:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("\nhost", no_wrap=True)
        for heading, _ in _COLUMNS:
            table.add_column(heading, justify="right", no_wrap=True)
        for host in self._scenario.hosts:
            table.add_row(host.name, *(_cell(figure, measured, host.name) for _, figure in _COLUMNS))
        return table


def verdict_table(verdicts: tuple[Verdict, ...]) -> Table:
    """All verdicts, with what was found of everybody."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("", "expected", "who", "found"):
        table.add_column(heading)
    for verdict in verdicts:
        for row, finding in enumerate(verdict.findings):
            mark = Text("holds", "green") if finding.holds else Text("BROKEN", "bold red")
            table.add_row(mark, Text("" if row else verdict.that), finding.who, Text(finding.text))
    return table


def _newest(figure: Figure, measured: Measurements, who: str) -> float | None:
    return evaluate_figure(figure, measured, who, Window())


def _cell(figure: Figure, measured: Measurements, who: str) -> str:
    value = _newest(figure, measured, who)
    if value is None:
        return "-"
    return f"{value / (1 << 20):.1f}" if figure.metric.endswith("_bytes") else f"{value:,.0f}"


def _of_device(measured: Measurements, metric: str, **labels: str) -> float:
    return _newest(Figure(f"cxldev_{metric}", labels), measured, DEVICE) or 0.0


def _device_line(measured: Measurements) -> str:
    held = _of_device(measured, "media_used_bytes", kind="reserved")
    used = _of_device(measured, "media_used_bytes")
    level = _LEVELS[int(_of_device(measured, "watermark_level"))]
    full = ", NO MORE WRITES" if _of_device(measured, "no_more_writes") else ""
    physical = _of_device(measured, "physical_capacity_bytes")
    return (
        f"device: {format_bytes(used)} of {format_bytes(physical)} used"
        f"{f', {format_bytes(held)} of it held by faults' if held else ''}, "
        f"{_of_device(measured, 'stored_pages'):,.0f} pages at {_of_device(measured, 'ratio'):.2f}:1, "
        f"{level}{full}"
    )


def _media_bar(measured: Measurements) -> Text:
    """All media in one line: what pages take, what faults hold, what is free."""
    physical = _of_device(measured, "physical_capacity_bytes") or 1.0
    held = round(_BAR_CELLS * _of_device(measured, "media_used_bytes", kind="reserved") / physical)
    used = round(_BAR_CELLS * _of_device(measured, "media_used_bytes") / physical) - held
    bar = Text("media ")
    bar.append("█" * used, "cyan")
    bar.append("▒" * held, "red")
    bar.append("·" * max(0, _BAR_CELLS - used - held), "dim")
    return bar

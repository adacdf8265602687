"""What `cramctl top` shows, fitted to the console that it is drawn on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from cramctl.events import event_line
from cramctl.tables import LEVEL_STYLES, faults_table, ratio
from cramwire.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from cramctl.readings import Readings

_STEPS: Final = "▁▂▃▄▅▆▇█"
_SIDE: Final = 11
"""Cells of the headings on the left."""
_WIDE: Final = 76
"""From so many cells on, hosts are shown with all that is known of them."""
_BAR_CELLS: Final = 100
"""At most."""
_FEWEST_EVENTS: Final = 3
_SOON_S: Final = 600
"""As the alert CxlDeviceMediaExhaustionPredicted has it."""
_EVENTS_WITHOUT_END: Final = 8
"""Where the view has no height to fill."""


class TopView:
    """One moment of the device. Where the console has a height, it is filled and not exceeded."""

    def __init__(
        self,
        readings: Readings,
        events: Sequence[dict[str, Any]],
        height: int | None,
        no_more_events: str = "",
    ) -> None:
        self._readings = readings
        self._status = readings.status
        self._events = events
        self._height = height
        self._no_more_events = no_more_events

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Top to bottom: device, hosts, faults, and as many events as there is room for."""
        width = options.max_width
        parts: list[RenderableType] = [*self._device(width), Text()]
        faults = self._status["faults"]
        below: list[RenderableType] = [faults_table(faults), Text()] if faults else []
        rows, room = None, _EVENTS_WITHOUT_END
        if self._height is not None:
            others = _lines(console, [*parts, *below], options)
            # Less the heading of the hosts, and the line below them.
            rows = max(1, self._height - others - _FEWEST_EVENTS - 2)
        parts += [self._hosts(width, rows), Text(), *below]
        if self._height is not None:
            room = self._height - _lines(console, parts, options)
        if room > 0:
            parts += self._newest(room)
        yield from parts

    def _device(self, width: int) -> list[RenderableType]:
        status, media, rates = self._status, self._status["media"], self._readings.rates
        level = status["watermark"]
        state = Text.assemble(
            (level.replace("_", " "), LEVEL_STYLES.get(level, "")),
            f", {format_bytes(media['free_size'])} free",
            f", low at {format_bytes(status['watermarks']['low_size'])}",
        )
        if status["no_more_writes"]:
            state.append("  NO MORE WRITES", style="bold red")
        moved = ", ".join(f"{name.removesuffix('_pages')} {_rate(rates[name])}" for name in rates)
        rows = (
            ("device", self._title()),
            ("media", self._bar(max(10, width - _SIDE))),
            ("", Text(self._parts_of_media(), "dim")),
            (
                "lately",
                Text(_sparkline(self._readings.used, max(10, min(width - _SIDE, _BAR_CELLS))), "cyan"),
            ),
            ("watermark", state),
            ("runs full", self._runs_full()),
            (
                "stored",
                Text(
                    f"{status['stored_pages']:,} pages at {ratio(status['ratio_milli'])}, "
                    f"sold at {ratio(status['zratio_milli'])}"
                ),
            ),
            ("pages", Text(moved)),
        )
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(style="bold", width=_SIDE - 1, no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis")
        for heading, told in rows:
            # Else the headings would be cut as well.
            told.truncate(max(1, width - _SIDE), overflow="ellipsis")
            grid.add_row(heading, told)
        return [grid]

    def _runs_full(self) -> Text:
        told = self._readings.forecast
        if self._status["no_more_writes"] or not self._status["media"]["free_size"]:
            return Text("now", "bold red")
        if told is None:
            return Text("not known yet", "dim")
        if math.isinf(told.left_s):
            return Text.assemble(("no", "green"), f", {told.by}")
        style = "yellow" if told.left_s < _SOON_S else ""
        return Text.assemble((f"in {format_duration(told.left_s * 1e9)}", style), f", {told.by}")

    def _title(self) -> Text:
        status = self._status
        text = Text(f"generation {status['generation']}  ")
        if self._readings.problem:
            away = format_duration(self._readings.away_s * 1e9)
            text.append(f"NO ANSWER for {away}; these are the last figures", style="bold red")
        else:
            text.append("answers", style="green")
        return text

    def _bar(self, cells: int) -> Text:
        """All media in one line: what pages take, what faults hold, what is free."""
        status, media = self._status, self._status["media"]
        physical = max(1, status["physical_size"])
        told = f" {format_bytes(media['used_size'])} of {format_bytes(physical)}"
        cells = max(4, min(cells - len(told), _BAR_CELLS))
        held = round(cells * media["reserved_size"] / physical)
        used = round(cells * (media["used_size"] - media["reserved_size"]) / physical)
        bar = Text("█" * used, "cyan")
        bar.append("▒" * held, "red")
        bar.append("·" * max(0, cells - used - held), "dim")
        return bar.append(told, "default")

    def _parts_of_media(self) -> str:
        media = self._status["media"]
        named = (("sectors", "sectors"), ("metadata", "metadata"), ("staged", "staged"))
        parts = [
            f"{name} {format_bytes(media[f'{key}_size'])}" for name, key in named if media[f"{key}_size"]
        ]
        if media["reserved_size"]:
            parts.append(f"held by faults {format_bytes(media['reserved_size'])}")
        return ", ".join(parts) or "nothing is stored"

    def _hosts(self, width: int, most: int | None) -> RenderableType:
        regions = sorted(self._status["regions"], key=lambda one: one["used_size"], reverse=True)
        if not regions:
            return Text("no host is attached", "dim")
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("host", no_wrap=True, overflow="ellipsis")
        headings = ["media", "fills at", "pages", "ratio"]
        headings += ["in TRIM", "poisoned", "lease"] if width >= _WIDE else []
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        shown = regions if most is None or len(regions) <= most else regions[: max(1, most - 1)]
        for region in shown:
            cells = [
                format_bytes(region["used_size"]),
                _bytes_rate(self._readings.host_rates.get(region["region"])),
                f"{region['stored_pages']:,}",
                ratio(region["ratio_milli"]),
            ]
            if width >= _WIDE:
                cells += [f"{region['trim_queued_pages']:,}", f"{region['poisoned_pages']:,}"]
                cells.append(format_duration(region["lease_remaining_ns"]))
            table.add_row(region["region"], *cells)
        if len(shown) < len(regions):
            table.add_row(Text(f"and {len(regions) - len(shown)} more", "dim"))
        return table

    def _newest(self, room: int) -> list[RenderableType]:
        if self._no_more_events:
            return [Text(f"no more events: {self._no_more_events}", "red", no_wrap=True, overflow="ellipsis")]
        if not self._events:
            return [Text("no event yet", "dim")]
        return [Text(event_line(event), no_wrap=True, overflow="ellipsis") for event in self._events[-room:]]


def _lines(console: Console, parts: Sequence[RenderableType], options: ConsoleOptions) -> int:
    return sum(len(console.render_lines(part, options.update(height=None))) for part in parts)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}/s"


def _bytes_rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{'+' if value > 0 else ''}{format_bytes(value)}/s"


def _sparkline(shares: Sequence[float], cells: int) -> str:
    """Shares of 1, one cell each, the newest at the right."""
    newest = list(shares)[-cells:]
    return "".join(_STEPS[min(len(_STEPS) - 1, int(share * len(_STEPS)))] for share in newest)

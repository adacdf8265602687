"""The demo as somebody sees it: live on a terminal, a few lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cramctl.describe import watermark
from cramlab.demo.story import PHASES
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from rich.console import Console

    from cramlab.demo.needs import Look, Phase
    from cramlab.demo.readings import DeviceReading, HostReading, Reading

_PAGE_BYTES: Final = 4096
_BAR_CELLS: Final = 48
_HEADINGS: Final = (
    "DRAM\nMiB",
    "node\nMiB",
    "swap\nMiB",
    "\nwritable",
    "\ndemoted",
    "\nmkwrite",
    "\npromoted",
    "written\nback",
)
_LINE_EVERY_S: Final = 5.0


class LineView:
    """One line when a phase begins and when it is reached, and one every few seconds between."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began = self._said = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def phase_begun(self, phase: Phase) -> None:
        """Say what is to come."""
        self._say(f"{phase.key}: {phase.title}")

    def seen(self, reading: Reading, looks: list[Look]) -> None:
        """Now and then, say how the device and the hosts stand."""
        if self._clock() - self._said >= _LINE_EVERY_S:
            met = sum(look.met for look in looks)
            self._say(f"  {_device_line(reading.device)}; {met} of {len(looks)} conditions met")

    def phase_reached(self, phase: Phase, seconds: float) -> None:
        """Say so, and how long it took."""
        self._say(f"{phase.key}: reached in {seconds:.1f} s")

    def _say(self, text: str) -> None:
        self._said = self._clock()
        line = f"[{self._said - self._began:5.1f} s] {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """The device, every host and the phases, redrawn with every reading."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._reached: set[str] = set()
        self._phase: Phase | None = None
        self._reading: Reading | None = None
        self._looks: list[Look] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def phase_begun(self, phase: Phase) -> None:
        """Mark it as the one that is under way."""
        self._phase, self._looks = phase, []
        self._draw()

    def seen(self, reading: Reading, looks: list[Look]) -> None:
        """Redraw."""
        # Once the hosts have left, their last figures stay on the screen.
        if reading.hosts or self._reading is None:
            self._reading = reading
        else:
            self._reading = type(reading)(reading.device, self._reading.hosts)
        self._looks = looks
        self._draw()

    def phase_reached(self, phase: Phase, seconds: float) -> None:
        """Tick it off; that line stays above what is redrawn."""
        self._reached.add(phase.key)
        took = (f"({seconds:.1f} s)", "dim")
        self._live.console.print(Text.assemble(("done  ", "green"), f"{phase.key}: {phase.title} ", took))
        self._draw()

    @property
    def renderable(self) -> Group:
        """What is on the screen now."""
        parts: list[Table | Text] = []
        if self._reading is not None:
            parts += [_media_bar(self._reading.device), Text(_device_line(self._reading.device)), Text()]
            parts += [_hosts(self._reading), Text()]
        parts.append(self._phases())
        return Group(*parts)

    def _draw(self) -> None:
        self._live.update(self.renderable)

    def _phases(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for phase in PHASES:
            if phase.key in self._reached:
                continue
            if phase is not self._phase:
                grid.add_row("", Text(phase.key, "dim"), "")
                continue
            grid.add_row(Text("now ", "bold yellow"), Text(phase.key, "bold"), phase.title)
            for look in self._looks:
                if not look.met:
                    grid.add_row("", "", Text(f"waiting for {look.text}", "dim"))
        return grid


def _device_line(device: DeviceReading) -> str:
    held = f", {format_bytes(device.held_by_faults_bytes)} held back" if device.held_by_faults_bytes else ""
    full = ", NO MORE WRITES" if device.full else ""
    return (
        f"device: {format_bytes(device.used_bytes)} of {format_bytes(device.physical_bytes)} used{held}, "
        f"{device.stored_pages:,} pages at {device.ratio_milli / 1000:.2f}:1, "
        f"{watermark(device.watermark).replace('_', ' ')}{full}"
    )


def _media_bar(device: DeviceReading) -> Text:
    """All media in one line: what pages take, what faults hold, what is free."""
    held = round(_BAR_CELLS * device.held_by_faults_bytes / device.physical_bytes)
    used = round(_BAR_CELLS * (device.used_bytes - device.held_by_faults_bytes) / device.physical_bytes)
    bar = Text("media ")
    bar.append("█" * used, "cyan")
    bar.append("▒" * held, "red")
    bar.append("·" * max(0, _BAR_CELLS - used - held), "dim")
    return bar


def _hosts(reading: Reading) -> Table:
    # 80 columns hold it: sizes in MiB, two-line headings.
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("\nhost", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("node,\npressure", no_wrap=True)
    for name, host in reading.hosts.items():
        table.add_row(
            name,
            _pages(host.in_dram),
            _pages(host.in_node),
            _pages(host.in_swap),
            f"{host.writable}/{host.budget}",
            f"{host.demotions:,}",
            f"{host.mkwrites:,}",
            f"{host.promotions:,}",
            f"{host.writebacks:,}",
            _gate(host),
        )
    return table


def _pages(count: int) -> str:
    return f"{count * _PAGE_BYTES / (1 << 20):.1f}"


def _gate(host: HostReading) -> Text:
    if host.node_open:
        return Text(f"open {host.pressure}", "green")
    return Text(f"closed {host.pressure}", "red")

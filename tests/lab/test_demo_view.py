"""What people see of the demo, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from cramlab.demo.story import EXHAUSTED, FILL, WRITEBACK
from cramlab.demo.view import LineView, LiveView
from lab_helpers import device_reading, host_reading, reading

NOW = reading(
    device_reading(used_bytes=64 << 20, free_bytes=0, held_by_faults_bytes=32 << 20, full=1, watermark=5),
    sqlite=host_reading(node_open=0, pressure=1000, writable=17, demotions=1234),
    numeric=host_reading(),
)


def test_lines_where_no_terminal_is() -> None:
    """One when a phase begins, one when it is reached, and one between if it takes long."""
    now = [0.0]
    shown = io.StringIO()
    view = LineView(Console(file=shown, width=40), clock=lambda: now[0])
    view.phase_begun(EXHAUSTED)
    now[0] = 1.0
    view.seen(NOW, EXHAUSTED.looks(NOW, NOW))
    now[0] = 6.0
    view.seen(NOW, EXHAUSTED.looks(NOW, NOW))
    view.phase_reached(EXHAUSTED, 6.0)
    begun, between, reached = shown.getvalue().splitlines()
    assert begun.startswith("[  0.0 s] exhaustion: almost all free media")
    assert between == (
        "[  6.0 s]   device: 64.0 MiB of 64.0 MiB used, 32.0 MiB held back, 18,000 pages at 3.00:1, "
        "critical, NO MORE WRITES; 0 of 3 conditions met"
    )
    assert reached == "[  6.0 s] exhaustion: reached in 6.0 s"


def test_the_live_view_fits_80_columns() -> None:
    """Device, hosts, phases; what is reached stays above it; hosts that left keep their last figures."""
    shown = io.StringIO()
    console = Console(file=shown, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with LiveView(console) as view:
        view.phase_begun(FILL)
        view.seen(NOW, FILL.looks(NOW, NOW))
        view.phase_reached(FILL, 3.0)
        view.phase_begun(WRITEBACK)
        view.seen(reading(device_reading()), [])
        console.print(view.renderable)
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert any(
        line.endswith("done  fill: the hosts shadow their programs; cold pages are demoted (3.0 s)")
        for line in lines
    )
    assert any("sqlite" in line and "1,234" in line and line.endswith("closed 1000") for line in lines)
    assert any("numeric" in line and line.endswith("open 0") for line in lines)
    assert any(line.startswith("now   writeback") for line in lines)

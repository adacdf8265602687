"""The same for people: tables and lines. Fed with the dicts of `cramctl.describe`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cramwire.units import format_bytes, format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

_ANY_WIDTH: Final = 1000

LEVEL_STYLES: Final = {
    "above_high": "green",
    "high": "green",
    "medium": "yellow",
    "low": "red",
    "critical": "bold red",
}


def fitting_console() -> Console:
    """The terminal; elsewhere, as wide as any line of ours: what is piped into a program is not wrapped."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _ANY_WIDTH
    return console


def print_status(status: dict[str, Any]) -> None:
    """The device, its regions, its armed faults."""
    fitting_console().print(status_view(status))


def print_regions(regions: Sequence[dict[str, Any]]) -> None:
    """The regions, or a line that says that there are none."""
    fitting_console().print(_regions(regions) if regions else "no host is attached")


def print_faults(faults: Sequence[dict[str, Any]]) -> None:
    """The armed faults, or a line that says that there are none."""
    fitting_console().print(faults_table(faults) if faults else "no fault is armed")


def status_view(status: dict[str, Any]) -> RenderableType:
    """What `print_status` prints."""
    parts: list[RenderableType] = [_device(status)]
    parts.append(_regions(status["regions"]) if status["regions"] else Text("no host is attached"))
    if status["faults"]:
        parts.append(faults_table(status["faults"]))
    return Group(*parts)


def ratio(milli: int) -> str:
    """`2.95:1`, or `-` while nothing is stored."""
    return f"{milli / 1000:.2f}:1" if milli else "-"


def _device(status: dict[str, Any]) -> Table:
    media, counters = status["media"], status["counters"]
    level = status["watermark"]
    state = Text(level.replace("_", " "), style=LEVEL_STYLES.get(level, ""))
    if status["no_more_writes"]:
        state.append("  NO MORE WRITES", style="bold red")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    rows: tuple[tuple[str, str | Text], ...] = (
        ("device", f"{status['memdev']} {status['version']}, generation {status['generation']}"),
        ("began", status["origin"]),
        (
            "capacity",
            (
                f"{format_bytes(status['physical_size'])} of media, sold as "
                f"{format_bytes(status['logical_size'])} (zratio {ratio(status['zratio_milli'])})"
            ),
        ),
        (
            "media used",
            (
                f"{format_bytes(media['used_size'])}, free {format_bytes(media['free_size'])}, "
                f"peak {format_bytes(media['peak_used_size'])}"
            ),
        ),
        (
            "",
            (
                f"sectors {format_bytes(media['sectors_size'])}, "
                f"metadata {format_bytes(media['metadata_size'])}, "
                f"staged {format_bytes(media['staged_size'])}, "
                f"held by faults {format_bytes(media['reserved_size'])}"
            ),
        ),
        ("watermark", state),
        ("stored", f"{status['stored_pages']:,} pages at {ratio(status['ratio_milli'])}"),
        (
            "so far",
            (
                f"{counters['written_pages']:,} pages written, {counters['read_pages']:,} read, "
                f"{counters['trimmed_pages']:,} trimmed, {counters['refused_pages']:,} refused; "
                f"no more writes {counters['no_more_writes']:,} times"
            ),
        ),
        ("", f"capacity identity checked {counters['capacity_identity_checks']:,} times"),
    )
    for row in rows:
        table.add_row(*row)
    return table


def _regions(regions: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("region")
    for heading in (
        "size",
        "media",
        "guaranteed",
        "limit",
        "asked back",
        "pages",
        "ratio",
        "in TRIM",
        "poisoned",
        "lease left",
    ):
        table.add_column(heading, justify="right")
    for region in regions:
        table.add_row(
            region["region"],
            format_bytes(region["size"]),
            format_bytes(region["used_size"]),
            format_bytes(region["guaranteed_size"]),
            format_bytes(region["limit_size"]),
            _asked_back(region),
            f"{region['stored_pages']:,}",
            ratio(region["ratio_milli"]),
            f"{region['trim_queued_pages']:,}",
            f"{region['poisoned_pages']:,}",
            format_duration(region["lease_remaining_ns"]),
        )
    return table


def _asked_back(region: dict[str, Any]) -> str:
    """How much of the region, and when it is taken."""
    if region["asked_back_to_size"] is None:
        return "-"
    wanted = format_bytes(region["size"] - region["asked_back_to_size"])
    return (
        wanted if region["forced_in_ns"] is None else f"{wanted} in {format_duration(region['forced_in_ns'])}"
    )


def faults_table(faults: Sequence[dict[str, Any]]) -> Table:
    """Armed faults, one a row."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    # The id begins with the kind.
    table.add_column("fault", no_wrap=True)
    table.add_column("armed with", overflow="fold")
    table.add_column("since (UTC)")
    table.add_column("fired", justify="right")
    table.add_column("until")
    plain = {"fault", "kind", "scope", "armed_at", "fired", "left", "ends_at"}
    for fault in faults:
        with_what = _settings({key: value for key, value in fault.items() if key not in plain})
        # Count and time are in what is left of them.
        bounds = {key: value for key, value in fault["scope"].items() if key not in {"count", "duration_ns"}}
        only = _settings(bounds)
        table.add_row(
            fault["fault"],
            "; ".join(part for part in (with_what, f"only {only}" if only else "") if part),
            _time_of_day(fault["armed_at"]),
            f"{fault['fired']:,}",
            _until(fault),
        )
    return table


def _until(fault: dict[str, Any]) -> str:
    """What ends the fault by itself, if anything does."""
    ends = [] if fault["left"] is None else [f"{fault['left']:,} more"]
    ends += [] if fault["ends_at"] is None else [_time_of_day(fault["ends_at"])]
    return " or ".join(ends) or "cleared"


def _time_of_day(moment: str) -> str:
    """`22:13:20` of an ISO 8601 moment."""
    return moment[11:19]


def _settings(settings: dict[str, Any]) -> str:
    """`wall=1.0 ms, tail=0.01, operations=read write`."""
    return ", ".join(_setting(key, value) for key, value in settings.items())


def _setting(key: str, value: Any) -> str:
    """As people write it: with dashes, and a switch by its name alone."""
    name = key.removesuffix("_ns").removesuffix("_milli").replace("_", "-")
    if value is True:
        return name
    if key.endswith("_ns"):
        return f"{name}={format_duration(value)}"
    if key.endswith("_milli"):
        return f"{name}={value / 1000:g}"
    if key == "bytes":
        return f"{name}={format_bytes(value)}"
    if key == "range":
        return f"{name}={value['start']:#x}+{format_bytes(value['length'])}"
    return f"{name}={' '.join(map(str, value)) if isinstance(value, list) else value}"

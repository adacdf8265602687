"""Whether what a process takes of the machine stays flat: its growth, robust against single peaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramlab.usage import Usage

SETTLING_S: Final = 60.0
"""What a process takes so soon after its last restart is not looked at, if enough is left to look at: its
bounded pools start a thread whenever more wait at one time than ever before, and buffers are made for the
first time. Measured with eight hosts: +11 MiB and +12 threads in the first 30 s."""
WARM_S: Final = 180.0
"""A window below this is looked at from its beginning, and so still shows the warming up."""
MEMORY_SLACK_BYTES: Final = 6 << 20
MEMORY_BYTES_PER_MINUTE: Final = 1 << 20
"""What the memory of a process may grow by in a window: the slack, and so much for each minute of it.
Malloc keeps what a peak made it take, and a peak may come late; a leak goes on."""
COUNT_SLACK: Final = 4
"""Threads and files: by how many they may grow in a window, however long it is."""
WARMING_MEMORY_SLACK_BYTES: Final = 24 << 20
WARMING_COUNT_SLACK: Final = 24
"""Instead of those, in a window that still shows the warming up."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look, so long after the beginning."""

    at_s: float
    usage: Usage


@dataclass(frozen=True, slots=True)
class Growth:
    """What one process grew by within a window, along the line through its looks."""

    process: str
    window_s: float
    memory_bytes: int
    """At the end of the window, the median of its last quarter."""
    memory_growth_bytes: float
    threads: int
    """Likewise."""
    threads_growth: float
    files: int
    """Likewise."""
    files_growth: float

    @property
    def warming(self) -> bool:
        """Whether the window is too short to tell a small leak from warming up."""
        return self.window_s < WARM_S

    @property
    def memory_bound_bytes(self) -> float:
        """What its memory may grow by in this window."""
        slack = WARMING_MEMORY_SLACK_BYTES if self.warming else MEMORY_SLACK_BYTES
        return slack + MEMORY_BYTES_PER_MINUTE * self.window_s / 60

    @property
    def count_bound(self) -> int:
        """What its threads, and its files, may grow by in this window."""
        return WARMING_COUNT_SLACK if self.warming else COUNT_SLACK

    def problems(self) -> list[str]:
        """What is not flat, each in one line."""
        found = []
        if self.memory_growth_bytes > self.memory_bound_bytes:
            found.append(
                f"the memory of {self.process} grew by {format_bytes(round(self.memory_growth_bytes))} in "
                f"{self.window_s:.0f} s, to {format_bytes(self.memory_bytes)}: "
                f"at most {format_bytes(round(self.memory_bound_bytes))} is flat"
            )
        for what, growth, now in (
            ("threads", self.threads_growth, self.threads),
            ("open files", self.files_growth, self.files),
        ):
            if growth > self.count_bound:
                found.append(
                    f"the {what} of {self.process} grew by {growth:.0f} in {self.window_s:.0f} s, "
                    f"to {now}: at most {self.count_bound} is flat"
                )
        return found

    def as_json(self) -> dict[str, Any]:
        """For the result, with the bounds."""
        return {
            "process": self.process,
            "window_seconds": self.window_s,
            "warming": self.warming,
            "memory_size": self.memory_bytes,
            "memory_growth_size": round(self.memory_growth_bytes),
            "memory_growth_bound_size": round(self.memory_bound_bytes),
            "threads": self.threads,
            "threads_growth": round(self.threads_growth, 2),
            "files": self.files,
            "files_growth": round(self.files_growth, 2),
            "count_growth_bound": self.count_bound,
        }


def growth_of(process: str, looks: Sequence[Seen]) -> Growth | None:
    """How it went until the last look, once it had settled; None of fewer than four looks."""
    if len(looks) < 4:
        return None
    if looks[-1].at_s - looks[0].at_s >= SETTLING_S + WARM_S:
        looks = [look for look in looks if look.at_s >= looks[0].at_s + SETTLING_S]
    times = np.array([look.at_s for look in looks])
    window_s = float(times[-1] - times[0])

    def growth(values: list[int]) -> float:
        return slope(times, np.array(values, np.float64)) * window_s

    def late(values: list[int]) -> int:
        return round(float(np.median(values[-max(1, len(values) // 4) :])))

    memory = [look.usage.memory_bytes for look in looks]
    threads = [look.usage.threads for look in looks]
    files = [look.usage.files for look in looks]
    return Growth(
        process,
        window_s,
        late(memory),
        growth(memory),
        late(threads),
        growth(threads),
        late(files),
        growth(files),
    )


def slope(times: np.ndarray, values: np.ndarray) -> float:
    """The median of the slopes between all pairs of points (Theil and Sen): peaks do not tilt it.

    Args:
        times: s, each later than the one before.
        values: as many, of whatever unit.
    """
    earlier, later = np.triu_indices(len(times), 1)
    return float(np.median((values[later] - values[earlier]) / (times[later] - times[earlier])))

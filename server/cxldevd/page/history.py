"""The last half hour of the device as a ring of samples, and as the columns that charts are drawn from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cramwire.v1.operator_pb2 import GetStatusResponse

INTERVAL_NS: Final = 2_000_000_000
"""Between two samples."""
KEPT: Final = 900
"""Samples: half an hour of them."""
MOST_HOSTS: Final = 16
"""Hosts of one sample, those that take the most media: it bounds the ring, however many are attached."""

FIGURES: Final[Mapping[str, Callable[[GetStatusResponse], int]]] = {
    "sectors_bytes": lambda status: status.media.sectors_bytes,
    "metadata_bytes": lambda status: status.media.metadata_bytes,
    "staged_bytes": lambda status: status.media.staged_bytes,
    "reserved_bytes": lambda status: status.media.reserved_bytes,
    "free_bytes": lambda status: status.telemetry.media_free_bytes,
    "ratio_milli": lambda status: status.telemetry.ratio_milli,
    "stored_pages": lambda status: status.telemetry.stored_pages,
    "trim_queued_pages": lambda status: status.telemetry.trim_queued_pages,
    "watermark": lambda status: status.telemetry.watermark,
    "no_more_writes": lambda status: status.telemetry.no_more_writes,
    "faults_armed": lambda status: len(status.faults),
    "no_more_writes_episodes": lambda status: status.counters.no_more_writes,
    "written_pages": lambda status: status.counters.written_pages,
    "read_pages": lambda status: status.counters.read_pages,
    "trimmed_pages": lambda status: status.counters.trimmed_pages,
    "refused_pages": lambda status: status.counters.refused_pages,
}
"""What is remembered. Those of `counters` count since the process started."""


@dataclass(frozen=True, slots=True)
class _Sample:
    time_ms: int
    generation: str
    figures: tuple[int, ...]
    """In the order of `FIGURES`."""
    host_used_bytes: dict[str, int]


class History:
    """The newest `KEPT` samples, numbered 1, 2, 3, ... One thread adds; who reads holds the same lock."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=KEPT)
        self._last = 0

    def add(self, status: GetStatusResponse, time_ms: int) -> None:
        """Remember this reading; the oldest is forgotten where there is no room.

        Args:
            status: the device.
            time_ms: since the epoch, by the wall clock.
        """
        takers = sorted(status.regions, key=lambda region: region.telemetry.media_used_bytes, reverse=True)
        self._samples.append(
            _Sample(
                time_ms,
                status.telemetry.generation,
                tuple(int(figure(status)) for figure in FIGURES.values()),
                {one.telemetry.host: one.telemetry.media_used_bytes for one in takers[:MOST_HOSTS]},
            )
        )
        self._last += 1

    def columns(self, after: int = 0) -> dict[str, Any]:
        """The samples behind number `after` that are still here, column by column.

        A host that was not attached at some moment, or was not among the first, has null there.
        """
        here = min(len(self._samples), max(0, self._last - after))
        samples = list(self._samples)[len(self._samples) - here :]
        hosts = sorted({host for sample in samples for host in sample.host_used_bytes})
        return {
            "last": self._last,
            "time_ms": [sample.time_ms for sample in samples],
            "generation": [sample.generation for sample in samples],
            "figures": {
                name: [sample.figures[place] for sample in samples] for place, name in enumerate(FIGURES)
            },
            "host_used_bytes": {
                host: [sample.host_used_bytes.get(host) for sample in samples] for host in hosts
            },
        }

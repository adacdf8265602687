"""What calls report as they go: how many, how they ended, how long they took."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final

from cxldevd.durations import Durations

if TYPE_CHECKING:
    import grpc
    from prometheus_client import CollectorRegistry

    from cxldev.errors import DeviceError

DATA_OPERATIONS: Final = ("write", "read", "trim", "flush")
"""The operations that take device time."""

_WALL_BUCKETS_S: Final = (
    *(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3),
    *(1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_DEVICE_BUCKETS_S: Final = (
    *(2.5e-7, 5e-7, 1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4),
    *(1e-3, 2.5e-3, 5e-3, 1e-2, 0.1, 1.0),
)
_STREAMS_END_S: Final = 0.5


class RequestMetrics:
    """Counts as plain integers, read once per scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._one_less = threading.Condition(self._lock)
        self._waits_idle = False
        """Whether anybody waits, or did: until a service ends, nobody does."""
        self._ended: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[type[DeviceError]] = Counter()
        self._running: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()
        self._wall = Durations(
            "cxldev_request_wall_seconds",
            "Wall time of unary calls inside the service, from thread to answer, by operation.",
            _WALL_BUCKETS_S,
            registry,
            self._lock,
        )
        self._device = Durations(
            "cxldev_request_device_seconds",
            "Device time of data commands by the latency model, by operation.",
            _DEVICE_BUCKETS_S,
            registry,
        )
        for operation in DATA_OPERATIONS:
            self._device.knows(operation)

    def knows(self, operation: str, *, stream: bool = False) -> None:
        """Export this operation from the start, at 0: a series that appears late has no rate at first."""
        with self._lock:
            (self._streams if stream else self._running)[operation] = 0
            if not stream:
                self._ended[operation, "OK"] = 0
        if not stream:
            self._wall.knows(operation)

    def begin(self, operation: str) -> None:
        """A unary call runs, until `answered` or `refused_after`."""
        with self._lock:
            self._running[operation] += 1

    def answered(self, operation: str, wall_ns: int) -> None:
        """It got what it asked for, after so long: `ended`, `took` and the end of `running` in one."""
        with self._lock:
            self._ended[operation, "OK"] += 1
            self._over(operation, wall_ns)

    def refused_after(self, operation: str, wall_ns: int) -> None:
        """It did not; how it ended is counted already."""
        with self._lock:
            self._over(operation, wall_ns)

    def _over(self, operation: str, wall_ns: int) -> None:
        """Needs the lock."""
        self._wall.add(operation, wall_ns)
        self._running[operation] -= 1
        if self._waits_idle:
            self._one_less.notify_all()

    def running(self, operation: str, *, stream: bool = False) -> AbstractContextManager[None]:
        """A call that runs while this is entered."""
        return _Running(self, self._streams if stream else self._running, operation)

    def enter(self, running: Counter[str], operation: str) -> None:
        """One more runs."""
        with self._lock:
            running[operation] += 1

    def leave(self, running: Counter[str], operation: str) -> None:
        """One runs no more."""
        with self._lock:
            running[operation] -= 1
            if self._waits_idle:
                self._one_less.notify_all()

    def wait_idle(self, grace_s: float) -> None:
        """Wait until no call runs, at most this long, s.

        Streams are given little: one that goes on now is stuck on a reader that does not read.
        """
        with self._one_less:
            self._waits_idle = True
            self._one_less.wait_for(lambda: not self._running.total(), grace_s)
            self._one_less.wait_for(lambda: not self._streams.total(), min(grace_s, _STREAMS_END_S))

    def ended(self, operation: str, code: grpc.StatusCode) -> None:
        """A call that got its answer."""
        with self._lock:
            self._ended[operation, code.name] += 1

    def refused(self, error: type[DeviceError]) -> None:
        """A call that was refused, by the type of its error."""
        with self._lock:
            self._refused[error] += 1

    def took(self, operation: str, wall_ns: int) -> None:
        """Wall time of a unary call, ns."""
        self._wall.observe(operation, wall_ns)

    def device_took(self, operation: str, device_ns: int) -> None:
        """Device time of a data command, ns."""
        self._device.observe(operation, device_ns)

    def ended_by_code(self) -> dict[tuple[str, str], int]:
        """Calls by (operation, gRPC status code)."""
        with self._lock:
            return dict(self._ended)

    def refused_by_error(self) -> dict[type[DeviceError], int]:
        """Refused calls by the type of their error."""
        with self._lock:
            return dict(self._refused)

    def running_now(self) -> dict[str, int]:
        """Calls that run, by operation."""
        with self._lock:
            return {**self._running, **self._streams}


class _Running(AbstractContextManager[None]):
    """A call that runs, as a context: single pages are too many for a generator each."""

    __slots__ = ("_metrics", "_operation", "_running")

    def __init__(self, metrics: RequestMetrics, running: Counter[str], operation: str) -> None:
        self._metrics = metrics
        self._running = running
        self._operation = operation

    def __enter__(self) -> None:
        self._metrics.enter(self._running, self._operation)

    def __exit__(self, *_: object) -> None:
        self._metrics.leave(self._running, self._operation)

"""Looks at the device every two seconds, and remembers: for the page's charts and its list of events."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.json_format import MessageToDict

from cramwire.v1 import types_pb2
from cxldevd import to_wire
from cxldevd.log import log_event
from cxldevd.page.history import INTERVAL_NS, History
from cxldevd.wake import Wake

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from cramwire.v1.operator_pb2 import GetStatusResponse
    from cxldevd.runtime import Runtime

EVENTS_KEPT: Final = 50
"""The newest, over all generations of this process."""


class Recorder:
    """Takes samples on a thread of its own: as costly as a scrape each, and never on the way of a host."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._recording = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._history = History()
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._events_missed = 0
        with runtime.device():
            self._power = runtime.power
        self._told = 0
        """The newest event of that power-on that is among ours."""
        self._stopped = False
        self._wake = Wake(runtime.clock)
        self._thread = threading.Thread(target=self._run, name="cxldevd-page", daemon=True)

    def start(self) -> None:
        """Take the first sample, and go on."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._stopped = True
        self._wake.ring()
        self._thread.join()

    def status(self) -> dict[str, Any]:
        """The device as it is now, and the newest events, oldest first.

        `status` and the events are the wire's `GetStatusResponse` and `Event` in protobuf's JSON form:
        names as in the .proto, 64-bit numbers as strings. `recording` is another one after a restart.
        """
        with self._lock:
            status, time_ms = self._look()
            return {
                "recording": self._recording,
                "time_ms": time_ms,
                "status": _as_json(status),
                "events": list(self._events),
                "events_missed": self._events_missed,
            }

    def history(self, after: int = 0) -> dict[str, Any]:
        """What `History.columns` tells, of which recording it is, and the time between two samples."""
        with self._lock:
            return {
                "recording": self._recording,
                "interval_ms": INTERVAL_NS // 1_000_000,
                **self._history.columns(after),
            }

    def _look(self) -> tuple[GetStatusResponse, int]:
        """One consistent reading and its wall time, ms. Takes note of the events up to it."""
        runtime = self._runtime
        found = []
        with runtime.device() as (device, now_ns):
            status, origin = device.status(now_ns), runtime.origin
            while True:
                missed, events = self._power.log.after(self._told)
                if missed is not None:
                    self._events_missed += missed.last_sequence - missed.first_sequence + 1
                if events:
                    self._told = events[-1].sequence
                    found += events
                if self._power.next is None:
                    break
                self._power, self._told = self._power.next, 0
        for event in found[-EVENTS_KEPT:]:
            message = to_wire.event(event, runtime.wall_ns)
            # Of the device at that moment, what the list shows.
            message.telemetry.CopyFrom(
                types_pb2.Telemetry(
                    media_free_bytes=message.telemetry.media_free_bytes,
                    watermark=message.telemetry.watermark,
                    region=types_pb2.RegionTelemetry(host=message.telemetry.region.host),
                )
            )
            self._events.append(_as_json(message))
        answer = to_wire.status(status, runtime.config, origin, runtime.wall_ns)
        return answer, runtime.wall_ns(now_ns) // 1_000_000

    def _run(self) -> None:
        due_ns = self._runtime.clock.now_ns()
        while not self._stopped:
            seen = self._wake.strokes
            try:
                with self._lock:
                    self._history.add(*self._look())
            except Exception as error:  # noqa: BLE001 - one sample is lost; without this thread all that follow would be
                log_event("sample_failed", level=logging.ERROR, error=error)
            # Not further behind than one sample: a machine that slept owes none.
            due_ns = max(due_ns + INTERVAL_NS, self._runtime.clock.now_ns())
            if not self._stopped:
                self._wake.wait(seen, due_ns)


def _as_json(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return made

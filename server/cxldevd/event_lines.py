"""The device's events as log lines, written by a thread of their own so that nobody waits for a disk."""

from __future__ import annotations

import logging
import threading
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from cxldev import events
from cxldevd.log import log_event

if TYPE_CHECKING:
    from cxldev.events import Event, EventKind
    from cxldevd.runtime import Runtime

_NAMES: Final[dict[type[EventKind], str]] = {
    events.WatermarkCrossed: "watermark_crossed",
    events.NoMoreWritesEntered: "no_more_writes",
    events.NoMoreWritesLeft: "writes_again",
    events.PoisonFound: "poison_found",
    events.RegionAttached: "attached",
    events.RegionDetached: "detached",
    events.RegionResized: "resized",
    events.AddCapacity: "capacity_added",
    events.ReleaseCapacity: "capacity_asked_back",
    events.ForcedCapacityRelease: "capacity_taken_by_force",
    events.RegionShareChanged: "share_changed",
    events.FaultArmed: "fault_armed",
    events.FaultCleared: "fault_cleared",
    events.DeviceReset: "reset",
}
_LEASE_EXPIRED: Final = "lease_expired"
EVENT_NAMES: Final = frozenset({*_NAMES.values(), _LEASE_EXPIRED})
"""All that the device's events can be called."""
_WARNINGS: Final = (
    events.NoMoreWritesEntered,
    events.PoisonFound,
    events.ForcedCapacityRelease,
    events.DeviceReset,
)


def log_device_event(event: Event) -> None:
    """One line for one event."""
    kind = event.kind
    name = _NAMES[type(kind)]
    if isinstance(kind, events.RegionDetached) and kind.cause is events.DetachCause.LEASE_EXPIRED:
        name = _LEASE_EXPIRED
    facts: dict[str, Any] = {field.name: _plain(getattr(kind, field.name)) for field in fields(kind)}
    if "host" not in facts and event.telemetry.region is not None:
        facts["host"] = event.telemetry.region.host
    log_event(
        name,
        level=logging.WARNING if isinstance(kind, _WARNINGS) else logging.INFO,
        **facts,
        generation=event.generation,
        sequence=event.sequence,
        media_free_bytes=event.telemetry.media_free_bytes,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [f"{dpa:#x}" for dpa in value[:8]] + ([f"and {len(value) - 8} more"] if len(value) > 8 else [])
    if isinstance(value, events.DetachCause):
        return value.value
    return value.name.lower() if hasattr(value, "name") else value


class EventLines:
    """A watcher whose reader is the log."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="cxldevd-log", daemon=True)

    def start(self) -> None:
        """Begin with the first event of the device."""
        self._thread.start()

    def stop(self) -> None:
        """Write what has happened until now, and end."""
        self._stopped = True
        self._runtime.changed.ring()
        self._thread.join()

    def _run(self) -> None:
        with self._runtime.device():
            power = self._runtime.power
        cursor = power.before
        while True:
            stopped, seen = self._stopped, self._runtime.changed.strokes
            with self._runtime.device():
                missed, batch = power.log.after(cursor)
                following = None if batch else power.next
            if missed is not None:
                log_event(
                    "events_not_logged",
                    level=logging.WARNING,
                    first=missed.first_sequence,
                    last=missed.last_sequence,
                )
            for event in batch:
                cursor = event.sequence
                log_device_event(event)
            if following is not None:
                power, cursor = following, 0
            elif not batch:
                if stopped:
                    return
                self._runtime.changed.wait(seen)

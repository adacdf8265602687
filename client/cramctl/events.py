"""Following a device's events over restarts of the device and of the stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from cramctl.describe import describe_event
from cramctl.operator import Unreachable
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cramctl.operator import Operator
    from cramwire.v1 import operator_pb2


_PAUSE_S: Final = 0.2


class Follower:
    """Where one watcher stands: the generation that it reads, and the last event of it that it has.

    Sequence numbers count within one generation. So a stream that turns out to belong to another
    generation than the one before is opened anew from its beginning: nothing of it is skipped.
    """

    def __init__(self, operator: Operator, after_sequence: int | None = None) -> None:
        self._operator = operator
        self._generation = ""
        self._after = after_sequence
        self._newest = 0

    def existing(self) -> Iterator[dict[str, Any]]:
        """The events (and gaps) that the device has now; ends by itself.

        Raises:
            OperatorError: refused or unreachable.
        """
        for answer in self._operator.watch(self._after):
            yield from self._take(answer)
            if self._after is not None and self._after >= self._newest:
                return

    def follow(self, on_lost: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        """Events (and gaps) as they happen, for ever.

        Args:
            on_lost: told in one line when the connection is lost; it is sought again until found.

        Raises:
            OperatorError: refused; or unreachable before it was ever reached.
        """
        reached = told = False
        while True:
            try:
                for answer in self._operator.watch(self._after, wait_for_ready=reached):
                    reached, told = True, False
                    if self._begins_elsewhere(answer):
                        self._after = 0
                        break
                    yield from self._take(answer)
                else:
                    # A device that drains ends its streams; it should not be asked in a tight loop.
                    time.sleep(_PAUSE_S)
            except Unreachable as error:
                if not reached:
                    raise
                if not told:
                    on_lost(str(error))
                    told = True
                time.sleep(_PAUSE_S)

    def _begins_elsewhere(self, answer: operator_pb2.WatchAllEventsResponse) -> bool:
        """Whether a stream, opened behind an event of one generation, turns out to be another one's."""
        if answer.WhichOneof("item") != "started" or not self._generation or not self._after:
            return False
        return answer.started.telemetry.generation != self._generation

    def _take(self, answer: operator_pb2.WatchAllEventsResponse) -> Iterator[dict[str, Any]]:
        """Note where the stream is, and say what happened."""
        item = answer.WhichOneof("item")
        if item == "started":
            telemetry = answer.started.telemetry
            self._newest = telemetry.event_sequence
            if self._after is None:
                self._after = answer.started.after_sequence
            self._generation = telemetry.generation
        elif item == "missed":
            missed = answer.missed
            self._after = missed.last_sequence
            yield {
                "event": "events_missed",
                "first_sequence": missed.first_sequence,
                "last_sequence": missed.last_sequence,
            }
        elif item == "event":
            event = answer.event
            self._generation, self._after = event.generation, event.sequence
            yield describe_event(event)
            if event.WhichOneof("kind") == "device_reset":
                self._generation, self._after = event.device_reset.next_generation, 0


def event_line(event: dict[str, Any]) -> str:
    """One event as one line for people."""
    if event["event"] == "events_missed":
        count = event["last_sequence"] - event["first_sequence"] + 1
        return f"-- {count} events missed: {event['first_sequence']} to {event['last_sequence']} --"
    facts = {
        "watermark_crossed": "{from} -> {to}",
        "poison_found": "{region}: {addresses}",
        "region_attached": "{region}",
        "region_detached": "{region} ({cause})",
        "region_resized": "{region} to {size}",
        "add_capacity": "{region} by {size}",
        "release_capacity": "{region} is asked for {size}",
        "forced_capacity_release": "{region} by {size}",
        "region_share_changed": "{region} to {guaranteed_size} guaranteed, {limit_size} at most",
        "fault_armed": "{kind} {fault}",
        "fault_cleared": "{kind} {fault} ({cause}, fired {fired} times)",
        "device_reset": "next generation {next_generation}",
    }.get(event["event"], "")
    shown = dict(event)
    shown["addresses"] = ", ".join(f"{dpa:#x}" for dpa in event.get("dpas", ()))
    if "size" in event:
        shown["size"] = format_bytes(event["size"])
    return (
        f"{event['at']}  #{event['sequence']:<5} {event['event']:<22} {facts.format(**shown)}"
        f"  [free {format_bytes(event['media_free_size'])}, {event['watermark'].replace('_', ' ')}"
        f"{', no more writes' if event['no_more_writes'] else ''}]"
    )

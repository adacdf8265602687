"""The watcher's thread: what the stream says is what the inbox gets, and where it begins again."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

from agent_helpers import DEADLINE_S
from cramagent.messages import EventDropped, EventsMissed, PoisonTold, Reading, SessionOver
from cramagent.watcher import EventWatcher
from cramwire.v1 import device_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramagent.messages import Message
    from cramagent.node_client import NodeClient, Session

SESSION = cast("Session", type("Session", (), {"session": "mine"}))


class ScriptedStreams:
    """A client whose streams are lists; the last one closes the channel."""

    def __init__(self, *streams: list[device_pb2.WatchEventsResponse]) -> None:
        self.streams = list(streams)
        self.after: list[int] = []

    def watch(self, session: Session, after_sequence: int) -> Iterator[device_pb2.WatchEventsResponse]:
        """The next stream, as a generator: it ends by itself."""
        assert session is SESSION
        self.after.append(after_sequence)
        if not self.streams:
            raise ValueError("Cannot invoke RPC on closed channel!")
        return iter(self.streams.pop(0))


def heard(streams: ScriptedStreams, count: int) -> list[Message]:
    """The first messages of a watcher that begins behind event 10."""
    inbox: SimpleQueue[Message] = SimpleQueue()
    watcher = EventWatcher(cast("NodeClient", streams), SESSION, 10, inbox)
    messages = [inbox.get(timeout=DEADLINE_S) for _ in range(count)]
    watcher._task.join(DEADLINE_S)
    assert not watcher._task.is_alive()
    assert inbox.empty()
    return messages


def missed(first: int, last: int) -> device_pb2.WatchEventsResponse:
    """Events that the device no longer had."""
    return device_pb2.WatchEventsResponse(
        missed=device_pb2.EventsMissed(first_sequence=first, last_sequence=last)
    )


def event(sequence: int, previous: int = 0, **kind: object) -> device_pb2.WatchEventsResponse:
    """One event, and the one before it."""
    made = types_pb2.Event(sequence=sequence, wall_time_ns=5, **kind)  # type: ignore[arg-type]  # one of its kinds
    return device_pb2.WatchEventsResponse(event=made, previous_sequence=previous)


def test_missed_events_are_counted_and_passed() -> None:
    """Eleven to twenty are gone: ten; a stream that breaks goes on behind them."""
    streams = ScriptedStreams([missed(11, 20)], [missed(21, 21)])
    assert heard(streams, 2) == [EventsMissed("mine", 10), EventsMissed("mine", 1)]
    assert streams.after == [10, 20, 21]


def test_an_event_is_a_reading_and_poison_is_told_before_it() -> None:
    """And the stream begins again behind it."""
    streams = ScriptedStreams([event(11, poison_found=types_pb2.PoisonFound(dpas=[4096]))])
    assert heard(streams, 2) == [PoisonTold("mine", (4096,)), Reading("mine", types_pb2.Telemetry(), 5)]
    assert streams.after == [10, 11]


def test_a_reset_is_the_end_of_the_session() -> None:
    """Its telemetry is about a device that knows us no more."""
    streams = ScriptedStreams([event(11, device_reset=types_pb2.DeviceReset())])
    assert heard(streams, 1) == [SessionOver("mine", "STALE_GENERATION")]


READING = Reading("mine", types_pb2.Telemetry(), 5)


def test_a_gap_is_missed_events() -> None:
    """Its reading is taken, and a newer one asked for: who knows what the lost one said."""
    streams = ScriptedStreams([event(11, 10), event(14, 12)])
    assert heard(streams, 3) == [READING, READING, EventsMissed("mine", 1)]
    assert streams.after == [10, 14]


def test_a_repeated_event_is_dropped() -> None:
    """Also if it tells of poison; a stream begins again behind the newest."""
    poison = event(11, 10, poison_found=types_pb2.PoisonFound(dpas=[4096]))
    streams = ScriptedStreams([poison, poison])
    assert heard(streams, 3) == [PoisonTold("mine", (4096,)), READING, EventDropped("mine", late=False)]


def test_of_a_late_event_only_the_poison_counts() -> None:
    """What it says of the device is no longer so."""
    late = event(11, 10, poison_found=types_pb2.PoisonFound(dpas=[4096]))
    streams = ScriptedStreams([event(12, 11), late])
    told = [READING, EventsMissed("mine", 1), PoisonTold("mine", (4096,)), EventDropped("mine", late=True)]
    assert heard(streams, 4) == told
    assert streams.after == [10, 12]

"""Events that are lost, late, repeated or out of order for a host; the operator's stream is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cramwire.v1 import device_pb2, operator_pb2
from server_helpers import DEADLINE_S, PAGE, SECOND, Bench, Host, bench_of

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600 * SECOND


class Told(NamedTuple):
    """An event of a stream, as these tests tell them apart: by the size that it tells, in pages."""

    pages: int
    after: int
    """Of the event that the stream names as the one before; 0: where the stream began."""


class Story:
    """A host whose region is resized to 1, 2, 3, ... pages: an event each."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.host: Host = bench.attach(pages=64, lease_ns=HOUR)
        self.stream = self.host.watch()
        self.overlooking = bench.watch_all()
        self.begins = next(self.stream).started.after_sequence
        assert next(self.overlooking).HasField("started")
        self.sizes: dict[int, int] = {self.begins: 0}

    def goes_on(self, *sizes: int) -> None:
        """So many events; the operator sees each of them once, in order."""
        for pages in sizes:
            resize = device_pb2.ResizeRequest(logical_bytes=pages * PAGE, **self.host.ref)
            self.bench.device.Resize(resize, timeout=DEADLINE_S)
        for pages in sizes:
            event = self.next_of_operator()
            assert event.region_resized.logical_bytes == pages * PAGE
            self.sizes[event.sequence] = pages

    def next_of_operator(self) -> Any:
        """The next event that is not about faults."""
        while True:
            event = next(self.overlooking).event
            if event.WhichOneof("kind") not in {"fault_armed", "fault_cleared"}:
                return event

    def told(self, count: int) -> list[Told]:
        """The next events on the host's stream."""
        items = [next(self.stream) for _ in range(count)]
        return [
            Told(item.event.region_resized.logical_bytes // PAGE, self.sizes[item.previous_sequence])
            for item in items
        ]


@pytest.fixture
def story() -> Iterator[Story]:
    """A new one."""
    with bench_of() as bench:
        yield Story(bench)


def trouble(story: Story, kind: str, count: int = 0, **more: int) -> None:
    """Arm it."""
    fault = operator_pb2.EventFault(trouble=f"EVENT_TROUBLE_{kind}", **more)  # type: ignore[arg-type]  # by name
    story.bench.inject(event=fault, scope=operator_pb2.FaultScope(count=count))


def test_without_faults_each_event_names_the_one_before(story: Story) -> None:
    """Also where others, which the host is not told, lie between."""
    story.goes_on(1, 2)
    story.bench.attach("somebody-else")
    assert story.next_of_operator().HasField("region_attached")
    story.goes_on(3)
    assert story.told(3) == [Told(1, 0), Told(2, 1), Told(3, 2)]


def test_a_lost_event_is_named_by_the_next(story: Story) -> None:
    """Two never comes; three says that there was a two."""
    story.goes_on(1)
    assert story.told(1) == [Told(1, 0)]
    trouble(story, "LOST", count=1)
    story.goes_on(2, 3)
    assert story.told(1) == [Told(3, 2)]


def test_a_late_event_comes_behind_what_came_meanwhile(story: Story) -> None:
    """When its time has come, by the device's clock."""
    trouble(story, "LATE", count=1, delay_ns=5 * SECOND)
    due_ns = story.bench.clock.now_ns() + 5 * SECOND
    story.goes_on(1, 2)
    assert story.told(1) == [Told(2, 1)]
    assert story.bench.clock.until_waited_for(due_ns)
    story.bench.clock.advance(5 * SECOND)
    assert story.told(1) == [Told(1, 0)]
    story.goes_on(3)
    assert story.told(1) == [Told(3, 2)]


def test_late_events_while_the_fault_is_armed(story: Story) -> None:
    """All are late by as much, and so in order."""
    trouble(story, "LATE", delay_ns=5 * SECOND)
    due_ns = story.bench.clock.now_ns() + 5 * SECOND
    story.goes_on(1, 2)
    assert story.bench.clock.until_waited_for(due_ns)
    story.bench.clock.advance(5 * SECOND)
    assert story.told(2) == [Told(1, 0), Told(2, 1)]


def test_a_repeated_event_has_the_same_number(story: Story) -> None:
    """Three times in all."""
    trouble(story, "DUPLICATED", count=1, copies=2)
    story.goes_on(1, 2)
    assert story.told(4) == [Told(1, 0)] * 3 + [Told(2, 1)]


def test_a_reordered_event_lets_others_go_first(story: Story) -> None:
    """And its number tells where it belongs."""
    trouble(story, "REORDERED", count=1, behind=2)
    story.goes_on(1, 2, 3, 4)
    assert story.told(4) == [Told(2, 1), Told(3, 2), Told(1, 0), Told(4, 3)]


def test_clearing_lets_all_go(story: Story) -> None:
    """Nothing is held for ever; what comes then is in order again."""
    trouble(story, "LATE", delay_ns=HOUR // 2)
    story.goes_on(1, 2)
    story.bench.clear()
    story.goes_on(3)
    assert story.told(3) == [Told(1, 0), Told(2, 1), Told(3, 2)]


def test_a_stream_that_is_opened_again_tells_what_was_late(story: Story) -> None:
    """It begins behind what its host has seen: the log has lost nothing."""
    trouble(story, "LATE", delay_ns=HOUR // 2)
    story.goes_on(1, 2)
    story.stream.cancel()
    story.bench.clear()
    story.stream = story.host.watch(after=story.begins)
    assert next(story.stream).HasField("started")
    assert story.told(2) == [Told(1, 0), Told(2, 1)]

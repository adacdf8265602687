"""What the link believes of readings: none turns the clock back."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

from cramagent.link import NodeLink
from cramagent.node_client import Region
from cramwire.v1 import types_pb2

if TYPE_CHECKING:
    from cramagent.messages import Message
    from cramagent.node_client import NodeClient


def news(*readings: tuple[int, bool]) -> list[bool]:
    """Which of these (newest event that it knows of, told by an event) a link of a new session believes."""
    inbox: SimpleQueue[Message] = SimpleQueue()
    link = NodeLink(cast("NodeClient", None), Region("host-a", 4096), inbox)
    return [
        link.is_news(types_pb2.Telemetry(event_sequence=sequence), of_event=of_event)
        for sequence, of_event in readings
    ]


def test_readings_in_order_are_believed() -> None:
    """Renewals between two events too: they know of no other."""
    assert news((3, False), (4, True), (4, False), (4, False), (5, True)) == [True] * 5


def test_a_late_event_tells_nothing_new() -> None:
    """A renewal knew of it already, and of what came after it."""
    assert news((7, False), (6, True), (7, True), (8, True)) == [True, False, False, True]


def test_a_late_answer_tells_nothing_new() -> None:
    """It was overtaken by an event that happened after it."""
    assert news((8, True), (7, False), (8, False)) == [True, False, True]

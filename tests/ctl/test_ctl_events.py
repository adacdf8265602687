"""`cramctl events`: one line each, gaps told, streams and devices that come and go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cramctl.events import Follower, event_line
from cramctl.operator import Operator, OperatorError
from cramwire.v1 import device_pb2, types_pb2
from cramwire.v1 import operator_pb2 as pb
from ctl_helpers import GENERATION, Ctl, FakeDevice, happened, started

NEXT = "1111111111111111"
CROSSED = types_pb2.WatermarkCrossed(
    from_level=types_pb2.WATERMARK_LEVEL_HIGH, to_level=types_pb2.WATERMARK_LEVEL_LOW
)
FULL = types_pb2.NoMoreWritesEntered()


def followed(device: FakeDevice, after: int | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Follow until the fake's script is over: the events, and what was told about lost connections."""
    told: list[str] = []
    found: list[dict[str, Any]] = []
    with Operator(device.address) as operator, pytest.raises(OperatorError, match="the script is over"):
        found.extend(Follower(operator, after).follow(told.append))
    return found, told


def test_without_following_it_ends_at_the_newest(ctl: Ctl, device: FakeDevice) -> None:
    """From the oldest that is kept, though the stream itself would go on."""
    device.streams = [
        [started(0, 2), happened(1, no_more_writes_entered=FULL), happened(2, watermark_crossed=CROSSED)]
    ]
    result = ctl("events", "--no-follow")
    assert result.exit_code == 0, result.output
    assert device.watched_after == [0]
    assert result.stdout.splitlines() == [
        "2023-11-14T22:13:20.123Z  #1     no_more_writes_entered   [free 48.0 MiB, above high]",
        "2023-11-14T22:13:20.123Z  #2     watermark_crossed      high -> low  [free 48.0 MiB, above high]",
    ]


def test_nothing_new_is_no_line(ctl: Ctl, device: FakeDevice) -> None:
    """Behind the newest event there is nothing to wait for."""
    device.streams = [[started(2, 2)]]
    result = ctl("events", "--no-follow", "--after", "2")
    assert (result.exit_code, result.stdout) == (0, "")


def test_json_is_one_object_a_line(ctl: Ctl, device: FakeDevice) -> None:
    """With what only this kind of event tells beside what all have."""
    device.streams = [[started(0, 1), happened(1, watermark_crossed=CROSSED)]]
    [line] = ctl("events", "--no-follow", "--json").stdout.splitlines()
    event = json.loads(line)
    assert (event["event"], event["from"], event["to"]) == ("watermark_crossed", "high", "low")
    assert event["generation"] == GENERATION


def test_missed_events_are_told(device: FakeDevice) -> None:
    """As an entry of their own, where they belong."""
    gap = pb.WatchAllEventsResponse(missed=device_pb2.EventsMissed(first_sequence=1, last_sequence=4))
    device.streams = [[started(0, 5), gap, happened(5, no_more_writes_entered=FULL)]]
    found, _ = followed(device, 0)
    assert [event["event"] for event in found] == ["events_missed", "no_more_writes_entered"]
    assert event_line(found[0]) == "-- 4 events missed: 1 to 4 --"


def test_a_stream_that_ends_is_taken_up_behind_its_last_event(device: FakeDevice) -> None:
    """Nothing twice, nothing left out."""
    device.streams = [
        [started(3, 3), happened(4, no_more_writes_entered=FULL)],
        [started(4, 5), happened(5, watermark_crossed=CROSSED)],
    ]
    found, _ = followed(device)
    assert [event["sequence"] for event in found] == [4, 5]
    assert device.watched_after == [None, 4, 5]


def test_a_restarted_device_is_read_from_its_first_event(device: FakeDevice) -> None:
    """Sequence numbers of another generation mean nothing: the stream is asked for anew, from 0."""
    device.streams = [
        [started(40, 40), happened(41, no_more_writes_entered=FULL)],
        [started(2, 2, NEXT)],
        [started(0, 2, NEXT), happened(1, NEXT, watermark_crossed=CROSSED)],
    ]
    found, _ = followed(device)
    assert [(event["generation"], event["sequence"]) for event in found] == [(GENERATION, 41), (NEXT, 1)]
    assert device.watched_after == [None, 41, 0, 1]


def test_a_reset_goes_on_in_the_same_stream(device: FakeDevice) -> None:
    """The last event of a generation, then the next one's head and events."""
    reset = types_pb2.DeviceReset(next_generation=NEXT)
    device.streams = [
        [
            started(6, 6),
            happened(7, device_reset=reset),
            started(0, 0, NEXT),
            happened(1, NEXT, watermark_crossed=CROSSED),
        ]
    ]
    found, _ = followed(device)
    assert [event["sequence"] for event in found] == [7, 1]
    assert device.watched_after == [None, 1]


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ({"poison_found": types_pb2.PoisonFound(dpas=[0, 4096])}, ": 0x0, 0x1000"),
        ({"region_attached": types_pb2.RegionAttached(host="host-a")}, "host-a"),
        (
            {"region_detached": types_pb2.RegionDetached(host="a", cause=types_pb2.DETACH_CAUSE_TAKEN_OVER)},
            "a (taken_over)",
        ),
        ({"region_resized": types_pb2.RegionResized(host="a", logical_bytes=1 << 20)}, "a to 1.0 MiB"),
        ({"fault_armed": types_pb2.FaultArmed(fault_id="f1", kind="latency")}, "latency f1"),
        (
            {
                "fault_cleared": types_pb2.FaultCleared(
                    fault_id="f1", kind="latency", cause=types_pb2.FAULT_CLEAR_CAUSE_COUNT, fired=3
                )
            },
            "latency f1 (count, fired 3 times)",
        ),
        ({"device_reset": types_pb2.DeviceReset(next_generation=NEXT)}, f"next generation {NEXT}"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_kind_of_event_has_its_line(
    ctl: Ctl, device: FakeDevice, kind: dict[str, Any], shown: str
) -> None:
    """What it tells beyond its name is on it."""
    device.streams = [[started(0, 1), happened(1, **kind)]]
    [line] = ctl("events", "--no-follow").stdout.splitlines()
    assert shown in line

"""What the device's page is drawn from: the ring of samples, the newest events, the JSON of both."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from cramwire.v1 import operator_pb2
from cxldevd.page.history import FIGURES, INTERVAL_NS, KEPT, MOST_HOSTS, History
from cxldevd.page.recorder import EVENTS_KEPT, Recorder
from server_helpers import ANY_PORT, Bench, bench_of, prose

if TYPE_CHECKING:
    from collections.abc import Iterator


def reading(free: int = 0, **used_by_host: int) -> operator_pb2.GetStatusResponse:
    """A device of which only this is told."""
    status = operator_pb2.GetStatusResponse()
    status.telemetry.generation = "g"
    status.telemetry.media_free_bytes = free
    for host, used in used_by_host.items():
        region = status.regions.add()
        region.telemetry.host, region.telemetry.media_used_bytes = host, used
    return status


def test_samples_come_as_columns_and_only_the_new_ones() -> None:
    """All columns are as long as the times; `after` asks for what is behind it."""
    history = History()
    for free in (30, 20, 10):
        history.add(reading(free), time_ms=100 - free)
    columns = history.columns()
    assert (columns["last"], columns["time_ms"]) == (3, [70, 80, 90])
    assert columns["figures"]["free_bytes"] == [30, 20, 10]
    assert columns["figures"].keys() == FIGURES.keys()
    assert {len(column) for column in columns["figures"].values()} == {3}
    assert history.columns(after=2)["figures"]["free_bytes"] == [10]
    assert history.columns(after=3)["time_ms"] == []
    assert history.columns(after=99)["time_ms"] == []


def test_a_host_that_was_not_there_has_null() -> None:
    """And one that has left keeps what it had."""
    history = History()
    history.add(reading(a=1), 0)
    history.add(reading(b=2), 1)
    assert history.columns()["host_used_bytes"] == {"a": [1, None], "b": [None, 2]}


def test_the_ring_is_bounded() -> None:
    """Half an hour of samples, and of each the hosts that take the most."""
    history = History()
    crowd = {f"host-{number}": number for number in range(MOST_HOSTS + 5)}
    for time_ms in range(KEPT + 7):
        history.add(reading(**crowd), time_ms)
    columns = history.columns()
    assert (columns["last"], len(columns["time_ms"]), columns["time_ms"][0]) == (KEPT + 7, KEPT, 7)
    assert len(columns["host_used_bytes"]) == MOST_HOSTS
    assert "host-0" not in columns["host_used_bytes"]
    assert KEPT * INTERVAL_NS == 30 * 60 * 1_000_000_000


@pytest.fixture
def served() -> Iterator[Bench]:
    """A service with a metrics address."""
    with bench_of(settings={"metrics": ANY_PORT}) as bench:
        yield bench


def fetched(bench: Bench, path: str) -> Any:
    """A JSON answer."""
    with urllib.request.urlopen(f"http://{bench.service.metrics_address}{path}", timeout=30) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        return json.load(answer)


def test_a_sample_is_taken_every_two_seconds(served: Bench) -> None:
    """On the service's clock, by a thread that waits for it."""
    start = served.clock.now_ns()
    served.attach().write(0, prose(3))
    assert served.clock.until_waited_for(start + INTERVAL_NS)
    assert fetched(served, "/history.json")["last"] == 1
    served.clock.advance(INTERVAL_NS)
    assert served.clock.until_waited_for(start + 2 * INTERVAL_NS)
    history = fetched(served, "/history.json?after=1")
    assert history["last"] == 2
    assert history["interval_ms"] == 2000
    assert history["figures"]["written_pages"] == [3]
    assert history["host_used_bytes"]["host-a"] == [served.status().telemetry.media_used_bytes]


def test_the_status_is_the_oracles(served: Bench) -> None:
    """The same message, in protobuf's own JSON form."""
    served.attach().write(0, prose(3))
    status, oracle = fetched(served, "/status.json")["status"], served.status()
    assert status["telemetry"]["media_used_bytes"] == str(oracle.telemetry.media_used_bytes)
    assert status["telemetry"]["stored_pages"] == "3"
    assert status["identity"]["generation"] == served.service.generation
    assert status["regions"][0]["telemetry"]["host"] == "host-a"
    assert status["faults"] == []


def test_events_are_told_over_a_reset(served: Bench) -> None:
    """What led to the reset and what follows it, in the order in which it happened."""
    served.attach()
    served.inject(latency=operator_pb2.LatencyFault(device_ns=1))
    served.inject(reset=operator_pb2.ResetFault())
    served.attach()
    document = fetched(served, "/status.json")
    kinds = [
        kind
        for event in document["events"]
        for kind in ("region_attached", "fault_armed", "device_reset")
        if kind in event
    ]
    assert kinds == ["region_attached", "fault_armed", "device_reset", "region_attached"]
    assert len({event["generation"] for event in document["events"]}) == 2
    assert document["events"][0]["telemetry"]["region"]["host"] == "host-a"
    assert document["events_missed"] == 0


def test_events_are_bounded_and_what_came_too_fast_is_counted() -> None:
    """The log of this device keeps ten; more than that came between two looks."""
    with bench_of(event_log_entries=10) as bench:
        recorder = Recorder(bench.service.runtime)
        for _ in range(EVENTS_KEPT):
            bench.attach().detach()
        document = recorder.status()
        assert len(document["events"]) == 10
        assert document["events_missed"] == 2 * EVENTS_KEPT - 10
        for _ in range(EVENTS_KEPT):
            bench.attach().detach()
            recorder.status()
        assert len(recorder.status()["events"]) == EVENTS_KEPT


def test_a_page_that_asks_nonsense_gets_everything(served: Bench) -> None:
    """`after` is a number, or it is as if it were not there."""
    assert served.clock.until_waited_for(served.clock.now_ns() + INTERVAL_NS)
    for query in ("?after=x", "?after=-1", "?after=" + "9" * 99, "?after="):
        assert len(fetched(served, f"/history.json{query}")["time_ms"]) == 1
    assert fetched(served, "/history.json?after=1")["time_ms"] == []

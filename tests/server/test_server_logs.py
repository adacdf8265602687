"""One line per event that matters, as text or as JSON."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import Any

from cramwire.log import JsonFormatter, LinesBehind, TextFormatter
from cramwire.v1 import operator_pb2
from cxldevd.log import LOG, log_event, logging_to
from server_helpers import DEADLINE_S, MIB, PAGE, SECOND, bench_of, noise, prose, refused


def life_of_a_device() -> list[dict[str, Any]]:
    """The log lines of a service that has seen everything once."""
    stream = io.StringIO()
    with logging_to(stream, "json", "info"), bench_of(settings={"seed": 3}) as bench:
        host = bench.attach(pages=300)
        refused(lambda: host.write(0, noise(300)))
        host.trim(0, 300)
        host.write(0, prose(1))
        bench.inject(poison={"host": "host-a", "dpas": [0]})
        refused(lambda: host.read(0, 1))
        host.detach()
        bench.attach("sleeper")
        fault = bench.inject(exhaustion=operator_pb2.ExhaustionFault(bytes=MIB))
        bench.clear(fault.fault_id)
        bench.clock.advance(10 * SECOND)
        bench.status()
        bench.reset()
        bench.attach("late")
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_event_that_matters_is_one_line() -> None:
    """In order, with host and generation."""
    lines = life_of_a_device()
    # The service's own line may overtake the device's, which a thread of its own writes.
    beside = {"watermark_crossed", "drain"}
    beside |= {"call_refused"}
    told = [line["event"] for line in lines if line["event"] not in beside]
    assert told == [
        "attached",
        "no_more_writes",
        "writes_again",
        "poison_found",
        "detached",
        "attached",
        "fault_armed",
        "fault_cleared",
        "lease_expired",
        "reset",
        "attached",
        "stopped",
    ]
    by_event = {line["event"]: line for line in lines}
    assert by_event["detached"]["host"] == "host-a"
    assert by_event["detached"]["cause"] == "requested"
    assert by_event["poison_found"]["dpas"] == ["0x0"]
    assert by_event["poison_found"]["level"] == "warning"
    assert by_event["fault_armed"]["fault_id"] == "exhaustion-1"
    assert by_event["lease_expired"]["host"] == "sleeper"
    assert by_event["reset"]["next_generation"] == by_event["drain"]["generation"]
    assert all("generation" in line for line in lines)


def test_text_lines_are_for_people() -> None:
    """Words, then facts by name; what has blanks is quoted."""
    stream = io.StringIO()
    with logging_to(stream, "text", "info"):
        log_event("attached", host="a", note="two words", size=PAGE, nothing="")
        log_event("not told", level=logging.DEBUG)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith('Z info attached host=a note="two words" size=4096 nothing=""')


def test_a_traceback_comes_with_its_line() -> None:
    """In JSON inside of it."""
    error = ZeroDivisionError("really")
    record = LOG.makeRecord("x", logging.ERROR, "f", 1, "failed", (), (ZeroDivisionError, error, None))
    assert "ZeroDivisionError" in json.loads(JsonFormatter().format(record))["traceback"]
    assert TextFormatter().format(record).splitlines()[0].endswith("error failed")


def test_a_stream_that_nobody_reads_stops_nobody() -> None:
    """Lines wait, the last of them are dropped, and the end does not wait for them for ever."""
    stuck, go = threading.Event(), threading.Event()
    told: list[str] = []

    def write(line: str) -> None:
        stuck.set()
        assert go.wait(DEADLINE_S)
        told.append(line)

    handler = LinesBehind(write)
    handler.setFormatter(TextFormatter())
    record = LOG.makeRecord("x", logging.INFO, "f", 1, "line", (), None)
    handler.emit(record)
    assert stuck.wait(DEADLINE_S)
    for _ in range(10_003):
        handler.emit(record)
    go.set()
    while len(handler._lines) >= 10_000:
        assert handler._thread.is_alive()
    handler.emit(record)
    handler.close()
    assert len(told) == 10_003
    assert told[-2].endswith("warning lines_dropped lines=3\n")


def test_logging_leaves_no_handler_behind() -> None:
    """Set up when it is entered, not when it is imported."""
    before = list(LOG.handlers)
    with logging_to(io.StringIO(), "text", "info"):
        assert len(LOG.handlers) == len(before) + 1
    assert before == LOG.handlers

"""The name of a call: in the refusal that it meets, and in the device's log."""

from __future__ import annotations

import io
import json
from typing import Any

import grpc
import pytest

from cramwire.page_messages import WRITE_METHOD, pack_dpas, put_write_request
from cramwire.refusal import read_refusal
from cramwire.request_id import message_id
from cramwire.v1 import device_pb2, memory_pb2, operator_pb2
from cxldevd import call_lines
from cxldevd.log import logging_to
from server_helpers import DEADLINE_S, MIB, SECOND, Bench, bench_of, noise, raw_call, refused

NAMED = (("cram-request-id", "mine-1"),)


def lines_of(stream: io.StringIO, event: str) -> list[dict[str, Any]]:
    """Lines of one event."""
    return [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == event]


def test_a_refusal_brings_the_name_back(bench: Bench) -> None:
    """As RequestInfo, beside the reason."""
    stream = io.StringIO()
    request = device_pb2.AttachRequest(host="host-a", logical_bytes=1)
    with logging_to(stream, "json", "info"), pytest.raises(grpc.RpcError) as caught:
        bench.device.Attach(request, timeout=DEADLINE_S, metadata=NAMED)
    refusal = read_refusal(caught.value)
    assert (refusal.reason, refusal.request_id) == ("NOT_ALIGNED", "mine-1")
    (line,) = lines_of(stream, "call_refused")
    assert (line["request"], line["operation"], line["host"]) == ("mine-1", "attach", "host-a")
    assert line["message"] == refusal.message


def test_a_call_without_a_name_gets_one_made_of_its_bytes(bench: Bench) -> None:
    """Which its caller can make, too."""
    host = bench.attach()
    request = put_write_request(host.session, host.generation, pack_dpas([1]), (noise(1),))
    assert refused(lambda: raw_call(bench.host_channel, WRITE_METHOD, request)).request_id == message_id(
        request
    )


def test_of_a_storm_of_refusals_a_few_are_written(bench: Bench) -> None:
    """With how many were not. The host, its session and its generation are told."""
    host, stream = bench.attach(), io.StringIO()
    with logging_to(stream, "json", "info"):
        for _ in range(40):
            refused(lambda: host.read(10_000, 1))
    told = lines_of(stream, "call_refused")
    held = sum(line.get("suppressed", 0) for line in told)
    held += sum(line["lines"] for line in lines_of(stream, "lines_suppressed"))
    assert len(told) + held == 40
    assert 5 <= len(told) < 40
    assert {(line["host"], line["generation"], line["session"]) for line in told} == {
        ("host-a", host.generation, host.session[:8])
    }


def test_a_slow_call_is_told_of(bench: Bench) -> None:
    """And an answer that a fault keeps back."""
    host, stream = bench.attach(lease_ns=3600 * SECOND), io.StringIO()
    fault = bench.inject(unanswered_command=operator_pb2.UnansweredCommandFault())
    with logging_to(stream, "json", "info"):
        call = bench.memory.Write.future(
            memory_pb2.WriteRequest(dpas=[0], data=noise(1), **host.ref), metadata=NAMED
        )
        while not bench.service.losses.held:
            assert not call.done()
        bench.clock.advance(2 * call_lines.SLOW_NS)
        bench.clear()
        with pytest.raises(grpc.RpcError):
            call.result(DEADLINE_S)
    (lost,), (slow,) = lines_of(stream, "answer_lost"), lines_of(stream, "call_slow")
    assert lost["fault_id"] == fault.fault_id
    assert slow["seconds"] >= 2
    assert {line["request"] for line in (lost, slow)} == {"mine-1"}


def test_a_service_that_ends_does_not_tell_of_everybody_that_it_turns_away() -> None:
    """Its streams all end with a refusal."""
    stream = io.StringIO()
    with logging_to(stream, "json", "info"), bench_of(physical=MIB) as bench:
        streams = [bench.attach(f"host-{number}").watch() for number in range(3)]
        assert all(next(one).HasField("started") for one in streams)
    assert lines_of(stream, "call_refused") == []

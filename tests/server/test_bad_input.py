"""The whole table of bad input: each is refused as documented, changes nothing, and the service goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.v1 import device_pb2, memory_pb2, operator_pb2, types_pb2
from cxldev.errors import InvalidField
from server_helpers import DEADLINE_S, PAGE, Bench, Host, dpas, prose, raw_call, refused

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("each_transport")

TOP = (1 << 64) - PAGE
"""The last page that a u64 can name."""
REGION = 64
"""Pages of the region under test."""


def write(addresses: list[int], pages: int | None = None, extra: bytes = b"") -> Callable[[Host], Any]:
    """A write to these addresses, with so many pages of data."""
    data = bytes(PAGE) * (len(addresses) if pages is None else pages) + extra
    return lambda host: host.bench.memory.Write(
        memory_pb2.WriteRequest(dpas=addresses, data=data, **host.ref)
    )


def read(addresses: list[int]) -> Callable[[Host], Any]:
    """A read of these addresses."""
    return lambda host: host.bench.memory.Read(memory_pb2.ReadRequest(dpas=addresses, **host.ref))


def trim(*ranges: tuple[int, int]) -> Callable[[Host], Any]:
    """A TRIM of these (start, length)."""
    made = [types_pb2.DpaRange(start=start, length=length) for start, length in ranges]
    return lambda host: host.bench.memory.Trim(memory_pb2.TrimRequest(ranges=made, **host.ref))


def attach(**fields: Any) -> Callable[[Host], Any]:
    """An attach of another host."""
    asked = {"host": "host-b", "logical_bytes": 16 * PAGE, **fields}
    return lambda host: host.bench.device.Attach(device_pb2.AttachRequest(**asked))


def resize(logical_bytes: int) -> Callable[[Host], Any]:
    """A resize of the region."""
    return lambda host: host.bench.device.Resize(
        device_pb2.ResizeRequest(logical_bytes=logical_bytes, **host.ref)
    )


def inject(**fault: Any) -> Callable[[Host], Any]:
    """A fault."""
    return lambda host: host.bench.inject(**fault)


def describe(name: str, addresses: list[int]) -> Callable[[Host], Any]:
    """A question to the oracle."""
    request = operator_pb2.DescribePagesRequest(host=name, dpas=addresses)
    return lambda host: host.bench.oracle.DescribePages(request)


BAD: list[tuple[str, Callable[[Host], Any], str, str]] = [
    # -- write
    ("write: no page", write([]), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
    ("write: unaligned", write([PAGE + 1]), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("write: behind the region", write([REGION * PAGE]), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("write: top of u64", write([TOP]), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("write: good pages, then a bad one", write([0, PAGE, TOP]), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("write: no data", write([0], 0), "INVALID_ARGUMENT", "DATA_LENGTH"),
    ("write: half a page", write([0], 0, b"x" * 2048), "INVALID_ARGUMENT", "DATA_LENGTH"),
    ("write: a byte too much", write([0], 1, b"x"), "INVALID_ARGUMENT", "DATA_LENGTH"),
    ("write: data for fewer", write([0, PAGE], 1), "INVALID_ARGUMENT", "DATA_LENGTH"),
    ("write: data without addresses", write([], 1), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
    ("write: a page twice", write([0, PAGE, 0]), "INVALID_ARGUMENT", "OVERLAPPING"),
    ("write: 1025 pages", write(dpas(0, 1025)), "INVALID_ARGUMENT", "TOO_MANY"),
    # -- read
    ("read: no page", read([]), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
    ("read: unaligned", read([1]), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("read: behind the region", read([REGION * PAGE]), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("read: top of u64", read([TOP]), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("read: a page twice", read([0, 0]), "INVALID_ARGUMENT", "OVERLAPPING"),
    ("read: 10,000 pages", read(dpas(0, 10_000)), "INVALID_ARGUMENT", "TOO_MANY"),
    # -- trim
    ("trim: no range", trim(), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
    ("trim: zero length", trim((0, 0)), "INVALID_ARGUMENT", "EMPTY_REQUEST"),
    ("trim: unaligned start", trim((5, PAGE)), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("trim: unaligned length", trim((0, PAGE + 1)), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("trim: starts behind the region", trim((REGION * PAGE, PAGE)), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("trim: ends behind the region", trim((0, (REGION + 1) * PAGE)), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("trim: wraps around u64", trim((PAGE, TOP)), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("trim: top of u64", trim((TOP, PAGE)), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    ("trim: overlapping", trim((0, 2 * PAGE), (PAGE, PAGE)), "INVALID_ARGUMENT", "OVERLAPPING"),
    ("trim: one range twice", trim((0, PAGE), (0, PAGE)), "INVALID_ARGUMENT", "OVERLAPPING"),
    ("trim: 10,000 ranges", trim(*[(0, PAGE)] * 10_000), "INVALID_ARGUMENT", "TOO_MANY"),
    ("trim: good ranges, then a bad one", trim((0, PAGE), (TOP, PAGE)), "OUT_OF_RANGE", "OUT_OF_RANGE"),
    # -- attach
    ("attach: no host", attach(host=""), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: long host", attach(host="h" * 64), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: odd host", attach(host="a/b"), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: host with a line end", attach(host="a\n"), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: no size", attach(logical_bytes=0), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: unaligned size", attach(logical_bytes=PAGE + 1), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("attach: huge", attach(logical_bytes=TOP), "RESOURCE_EXHAUSTED", "LOGICAL_CAPACITY"),
    ("attach: no lease", attach(lease_ns=0), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: endless lease", attach(lease_ns=(1 << 64) - 1), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("attach: no limit at all", attach(limit_media_bytes=0, guaranteed_media_bytes=PAGE),
     "INVALID_ARGUMENT", "INVALID_FIELD"),
    # -- resize
    ("resize: to nothing", resize(0), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("resize: unaligned", resize(PAGE + 1), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("resize: huge", resize(TOP), "RESOURCE_EXHAUSTED", "LOGICAL_CAPACITY"),
    ("resize: below data", resize(PAGE), "FAILED_PRECONDITION", "REGION_IN_USE"),
    # -- operators
    ("inject: nothing", inject(), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("inject: exhaustion without amount", inject(exhaustion={}), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("inject: exhaustion of 0", inject(exhaustion={"bytes": 0}), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("inject: more than all", inject(exhaustion={"share_milli": 1001}), "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("inject: ratio below 1", inject(ratio_collapse={"ratio_milli": 999}),
     "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("inject: poison of nobody", inject(poison={"host": "x", "dpas": [0]}), "NOT_FOUND", "UNKNOWN_HOST"),
    ("inject: poison of an empty page", inject(poison={"host": "host-a", "dpas": [63 * PAGE]}),
     "INVALID_ARGUMENT", "INVALID_FIELD"),
    ("inject: poison unaligned", inject(poison={"host": "host-a", "dpas": [1]}),
     "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("clear: unknown", lambda host: host.bench.clear("latency-99"), "NOT_FOUND", "UNKNOWN_FAULT"),
    ("describe: unknown host", describe("nobody", [0]), "NOT_FOUND", "UNKNOWN_HOST"),
    ("describe: unaligned", describe("host-a", [7]), "INVALID_ARGUMENT", "NOT_ALIGNED"),
    ("describe: 10,000 pages", describe("host-a", dpas(0, 10_000)), "INVALID_ARGUMENT", "TOO_MANY"),
    # -- watch
    (
        "watch: from the future",
        lambda host: next(host.watch(after=10_000)),
        "INVALID_ARGUMENT",
        "INVALID_FIELD",
    ),
]  # fmt: skip


def state_of(bench: Bench, host: Host) -> tuple[operator_pb2.GetStatusResponse, bytes]:
    """All that may be known, and all bytes; the count of the device's own checks is no state."""
    data = host.read(0, REGION)
    status = bench.status()
    status.counters.capacity_identity_checks = 0
    status.counters.read_pages = 0
    return status, data


@pytest.mark.parametrize(("call", "code", "reason"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_input_is_refused_and_changes_nothing(
    bench: Bench, call: Callable[[Host], Any], code: str, reason: str
) -> None:
    """The documented status and reason; status and bytes are as before; the next call works."""
    host = bench.attach(pages=REGION)
    host.write(0, prose(40))
    before = state_of(bench, host)
    refusal = refused(lambda: call(host))
    assert (refusal.code.name, refusal.reason) == (code, reason)
    assert refusal.message
    assert state_of(bench, host) == before
    assert host.write(63, prose(1)).accepted_pages == 1


SESSION_CALLS: list[tuple[str, Callable[[Bench, dict[str, Any]], Any]]] = [
    ("write", lambda b, ref: b.memory.Write(memory_pb2.WriteRequest(dpas=[0], data=bytes(PAGE), **ref))),
    ("read", lambda b, ref: b.memory.Read(memory_pb2.ReadRequest(dpas=[0], **ref))),
    (
        "trim",
        lambda b, ref: b.memory.Trim(
            memory_pb2.TrimRequest(ranges=[types_pb2.DpaRange(start=0, length=PAGE)], **ref)
        ),
    ),
    ("flush", lambda b, ref: b.memory.Flush(memory_pb2.FlushRequest(**ref))),
    ("renew", lambda b, ref: b.device.Renew(device_pb2.RenewRequest(**ref))),
    ("credits", lambda b, ref: b.device.GrantCredits(device_pb2.GrantCreditsRequest(number=1, **ref))),
    ("resize", lambda b, ref: b.device.Resize(device_pb2.ResizeRequest(logical_bytes=PAGE, **ref))),
    ("detach", lambda b, ref: b.device.Detach(device_pb2.DetachRequest(**ref))),
    ("telemetry", lambda b, ref: b.device.GetTelemetry(device_pb2.GetTelemetryRequest(**ref))),
    ("watch", lambda b, ref: list(b.device.WatchEvents(device_pb2.WatchEventsRequest(**ref)))),
]


@pytest.mark.parametrize("call", [row[1] for row in SESSION_CALLS], ids=[row[0] for row in SESSION_CALLS])
@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"session": "0" * 32}, "NOT_FOUND", "UNKNOWN_SESSION"),
        ({"generation": "0" * 16}, "FAILED_PRECONDITION", "STALE_GENERATION"),
        ({"session": ""}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        ({"generation": ""}, "INVALID_ARGUMENT", "INVALID_FIELD"),
        ({"session": "", "generation": ""}, "INVALID_ARGUMENT", "INVALID_FIELD"),
    ],
    ids=["unknown session", "stale generation", "no session", "no generation", "neither"],
)
def test_every_session_call_wants_its_session(
    bench: Bench,
    call: Callable[[Bench, dict[str, Any]], Any],
    change: dict[str, str],
    code: str,
    reason: str,
) -> None:
    """Each of the nine, with each way to be wrong about it."""
    host = bench.attach(pages=REGION)
    host.write(0, prose(40))
    before = state_of(bench, host)
    refusal = refused(lambda: call(bench, {**host.ref, **change}))
    assert (refusal.code.name, refusal.reason) == (code, reason)
    assert state_of(bench, host) == before


def test_a_message_of_64_mib_is_turned_away_by_grpc(bench: Bench, host: Host) -> None:
    """RESOURCE_EXHAUSTED, without a reason of ours; nothing of it is kept, and the service goes on."""
    endless = bench.channel(bench.service.address, [("grpc.max_send_message_length", -1)])
    write_all = endless.unary_unary(
        "/cramwire.v1.MemoryService/Write",
        request_serializer=memory_pb2.WriteRequest.SerializeToString,
        response_deserializer=memory_pb2.WriteResponse.FromString,
    )
    request = memory_pb2.WriteRequest(dpas=[0], data=bytes(64 << 20), **host.ref)
    refusal = refused(lambda: write_all(request, timeout=DEADLINE_S))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "")
    assert host.write(0, prose(1)).accepted_pages == 1


@pytest.mark.parametrize("message", [b"\xff\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["garbage", "utf-8"])
@pytest.mark.parametrize(
    "method",
    ["MemoryService/Write", "MemoryService/Read", "MemoryService/Trim", "DeviceService/WatchEvents"],
)
def test_bytes_that_are_no_message(bench: Bench, host: Host, method: str, message: bytes) -> None:
    """Garbage instead of a request, or a session that is no text: INVALID_FIELD, counted as any refusal."""
    path = f"/cramwire.v1.{method}"
    if method.endswith("WatchEvents"):
        watch: Any = bench.host_channel.unary_stream(path, bytes, bytes)
        refusal = refused(lambda: next(watch(message, timeout=DEADLINE_S)))
    else:
        refusal = refused(lambda: raw_call(bench.host_channel, path, message))
    assert (refusal.code.name, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert bench.service._requests.refused_by_error() == {InvalidField: 1}
    assert host.write(0, prose(1)).accepted_pages == 1


def test_a_limit_is_told_with_too_many(bench: Bench, host: Host) -> None:
    """Who asks for too much learns how much there is."""
    refusal = refused(lambda: read(dpas(0, 1025))(host))
    assert refusal.metadata["max_pages_per_request"] == "1024"
    assert refusal.metadata["max_ranges_per_trim"] == "127"


@pytest.mark.parametrize(
    "method",
    [
        "FaultService/InjectFault",
        "FaultService/ClearFaults",
        "FaultService/ListFaults",
        "RegionService/AddCapacity",
        "RegionService/ReleaseCapacity",
        "RegionService/ShareMedia",
        "OracleService/GetStatus",
        "OracleService/DescribePages",
        "OracleService/WatchAllEvents",
    ],
)
def test_hosts_cannot_reach_the_operators_side(bench: Bench, method: str) -> None:
    """On the hosts' listener these methods do not exist."""
    refusal = refused(lambda: raw_call(bench.host_channel, f"/cramwire.v1.{method}", b""))
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["DeviceService/Identify", "MemoryService/Read"])
def test_operators_cannot_act_as_hosts(bench: Bench, method: str) -> None:
    """And on the operators' listener those of hosts do not."""
    refusal = refused(lambda: raw_call(bench.operator_channel, f"/cramwire.v1.{method}", b""))
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED

"""Clients that mean harm, or are broken: what they do, they do to themselves. Others read and write on."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramwire.refusal import read_refusal
from cramwire.v1 import device_pb2, memory_pb2, memory_pb2_grpc
from server_helpers import (
    DEADLINE_S,
    MIB,
    PAGE,
    PATIENT,
    Bench,
    Host,
    bench_of,
    dpas,
    noise,
    prose,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def dial(bench: Bench) -> socket.socket:
    """A bare connection to the hosts' listener."""
    host, _, port = bench.service.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=DEADLINE_S)


@contextmanager
def crowd(bench: Bench, count: int, says: bytes = b"") -> Iterator[None]:
    """So many connections that say this, and stay."""
    with ExitStack() as stack:
        for _ in range(count):
            peer = stack.enter_context(dial(bench))
            if says:
                peer.sendall(says)
        yield


def lives(host: Host, rounds: int = 20) -> None:
    """A host that wants to work, and finds every byte as it was."""
    for number in range(rounds):
        data = prose(8, number)
        assert host.write(number * 8 % 128, data).accepted_pages == 8
        assert host.read(number * 8 % 128, 8) == data
    assert host.telemetry().region.host == host.name


def test_a_thousand_connections() -> None:
    """They stay open and silent, or have said hello and no more; a host that comes later is served, too."""
    with bench_of() as bench:
        host = bench.attach()
        with crowd(bench, 700), crowd(bench, 300, PREFACE + SETTINGS):
            lives(host)
            late = bench.channel(bench.service.address, [("grpc.use_local_subchannel_pool", 1)])
            ask = late.unary_unary(
                "/cramwire.v1.DeviceService/Identify",
                device_pb2.IdentifyRequest.SerializeToString,
                device_pb2.IdentifyResponse.FromString,
            )
            assert ask(device_pb2.IdentifyRequest(), timeout=DEADLINE_S).generation == host.generation


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        noise(1),
        PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + noise(16),
        PREFACE + SETTINGS + b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff",
        PREFACE + SETTINGS + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00" * 50,
        PREFACE + (SETTINGS + b"\x00\x00\x08\x06\x00\x00\x00\x00\x00pingping") * 500,
    ],
    ids=["http/1", "noise", "huge frame", "bad headers", "window of 0", "ping flood"],
)
def test_garbage_frames(garbage: bytes) -> None:
    """On many connections at a time."""
    with bench_of() as bench:
        host = bench.attach()
        with ExitStack() as stack:
            for _ in range(30):
                peer = stack.enter_context(dial(bench))
                try:
                    peer.sendall(garbage)
                except OSError:  # cut off while it spoke
                    continue
            lives(host)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def begun_write(stream: int) -> bytes:
    """The beginning of a Write: headers, and some bytes of a message that says it has 4 MiB."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/cramwire.v1.MemoryService/Write",
        ":authority": "device",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    # Literals that are not indexed: the simplest HPACK there is.
    words = [(name.encode(), value.encode()) for name, value in fields.items()]
    headers = b"".join(b"\x00%c%b%c%b" % (len(name), name, len(value), value) for name, value in words)
    begun = b"\x00" + (4 << 20).to_bytes(4, "big") + bytes(1000)
    return frame(1, 4, stream, headers) + frame(0, 0, stream, begun)


def test_messages_that_stop_half_way(caplog: pytest.LogCaptureFixture) -> None:
    """On one connection and on many, more than there are threads: they are ended when others need those."""
    with bench_of(settings={"workers": 2}) as bench:
        host = bench.attach()
        with ExitStack() as stack:
            for _ in range(3):
                many = stack.enter_context(dial(bench))
                many.sendall(PREFACE + SETTINGS + b"".join(begun_write(2 * one + 1) for one in range(90)))
            for _ in range(60):
                stack.enter_context(dial(bench)).sendall(PREFACE + SETTINGS + begun_write(1))
            until = time.monotonic() + DEADLINE_S
            while "unsent_calls_ended" not in caplog.messages:
                assert time.monotonic() < until, "no thread was taken back"
                host.telemetry()
            lives(host)


def test_an_event_stream_that_is_never_read() -> None:
    """Hundreds of events: they wait in the device's log, not for the reader; others are told at once."""
    with bench_of() as bench:
        host, deaf = bench.attach(), bench.attach("deaf")
        streams = [deaf.watch() for _ in range(10)]
        attentive = host.watch()
        assert next(attentive).HasField("started")
        for number in range(400):
            bench.attach(f"passer-by-{number % 7}", pages=1, take_over=True)
        lives(host)
        bench.reset()
        assert any(item.HasField("event") and item.event.HasField("device_reset") for item in attentive)
        for stream in streams:
            stream.cancel()


def test_a_host_that_takes_all_it_can_get() -> None:
    """Its own limits stop it: in flight, and event streams; the other one has its share of both."""
    settings = {"max_in_flight_bytes": 64 * PAGE, "max_in_flight_host_bytes": 16 * PAGE}
    settings |= {"max_watchers": 8, "max_watchers_host": 2}
    with bench_of(settings=settings) as bench:
        greedy, host = bench.attach("greedy"), bench.attach()
        streams = [greedy.watch() for _ in range(2)]
        assert all(next(stream).HasField("started") for stream in streams)
        told = refused(lambda: next(greedy.watch()))
        assert (told.reason, told.message) == (
            "DEVICE_BUSY",
            "all 2 event streams that one host may have are taken; close one",
        )
        bench.inject(latency={"wall_ns": 3_600_000_000_000}, scope={"host": "greedy"})
        request = memory_pb2.WriteRequest(dpas=dpas(0, 12), data=prose(12), **greedy.ref)
        first: Any = bench.memory.Write.future(request, timeout=DEADLINE_S)
        assert bench.clock.until_waited_for(bench.clock.now_ns() + 3_600_000_000_000)
        told = refused(lambda: greedy.write(20, prose(8)))
        assert "12 pages of this host are in flight and 8 more would pass its limit of 16" in told.message
        lives(host)
        assert next(host.watch()).HasField("started")
        first.cancel()
        bench.clear()


def test_a_message_above_the_limit(bench: Bench) -> None:
    """GRPC refuses it by its length alone, and the connection lives on."""
    with bench_of(settings={"max_message_bytes": 1 << 20}, max_pages_per_request=128) as small:
        host = small.attach()
        with pytest.raises(grpc.RpcError) as caught:
            small.memory.Write(memory_pb2.WriteRequest(dpas=dpas(0, 1), data=bytes(2 << 20), **host.ref))
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in error.details()
        lives(host)


def test_connections_beyond_the_limit_are_closed() -> None:
    """As they come; those that are there go on, and when some leave, others are let in."""
    with bench_of(settings={"max_connections": 4}) as bench:
        host = bench.attach()
        with ExitStack() as stack:
            peers = [stack.enter_context(dial(bench)) for _ in range(12)]
            for peer in peers:
                peer.sendall(PREFACE + SETTINGS)
            closed = sum(_hung_up(peer) for peer in peers)
            assert 8 <= closed <= 9
            lives(host)


def _hung_up(peer: socket.socket) -> bool:
    """Whether the service closes this connection instead of saying hello."""
    try:
        return not peer.recv(1)
    except ConnectionResetError:
        return True


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load (nghttp2-client) is not installed")
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("nothing", ["-m", "20"]),
        ("cramwire.v1.MemoryService/Write", ["-m", "1", "-H", "content-type: application/grpc"]),
        ("cramwire.v1.DeviceService/Attach", ["-m", "1", "-H", "content-type: application/grpc"]),
    ],
    ids=["what is not there", "garbage to write", "garbage to attach"],
)
def test_a_load_generator_that_knows_no_grpc(path: str, options: list[str], tmp_path: Path) -> None:
    """On a thousand connections at a time: a host works on all the while, and is refused nothing."""
    body = tmp_path / "body"
    body.write_bytes(b"\x00" + (4000).to_bytes(4, "big") + noise(1)[:4000])
    if path != "nothing":
        options = [*options, "-d", str(body), "-H", "te: trailers"]
    with bench_of() as bench:
        host = bench.attach()
        url = f"http://{bench.service.address}/{path}"
        load = subprocess.Popen(
            ["h2load", "-n", "8000", "-c", "1000", *options, url],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        rounds = 0
        while load.poll() is None or not rounds:
            lives(host, 4)
            rounds += 1
        said, _ = load.communicate(timeout=2 * DEADLINE_S)
        assert "8000 total" in said
        lives(host)


def test_a_flood_of_calls_from_many_connections() -> None:
    """More than there are threads and bytes for: the flood is told so; the other host is refused nothing."""
    settings = {"max_in_flight_bytes": 512 * PAGE, "max_queued_calls": 4096}
    with bench_of(physical=16 * MIB, settings=settings) as bench:
        greedy, host = bench.attach("greedy", pages=64), bench.attach()
        request = memory_pb2.WriteRequest(dpas=dpas(0, 64), data=noise(64), **greedy.ref)
        calls: list[Any] = []
        for _ in range(5):
            alone = [*PATIENT, ("grpc.use_local_subchannel_pool", 1)]
            memory = memory_pb2_grpc.MemoryServiceStub(bench.channel(bench.service.address, alone))
            calls += [memory.Write.future(request, timeout=2 * DEADLINE_S) for _ in range(120)]
        while not all(call.done() for call in calls):
            lives(host, 1)
        lives(host)
        refusals = [read_refusal(call.exception()) for call in calls if call.exception() is not None]
        assert {refusal.reason for refusal in refusals} == {"DEVICE_BUSY"}
        assert any("of this host" in refusal.message for refusal in refusals)
        assert len(refusals) < len(calls)
        assert greedy.read(0, 64) == noise(64)

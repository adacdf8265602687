"""The client over a real port: what is split, repeated, refused, and what it means to the policy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest

from agent_helpers import NS_PER_S, PAGE, noise, prose
from cramagent.channel import device_target
from cramagent.node_client import NodeClient, Region, Session
from cramagent.policy.effects import NodeLoaded, NodeStatus, NodeWritten
from cramagent.refusals import NodeRefused, NodeSilent, ProtocolBroken
from cramwire.v1 import device_pb2, memory_pb2, operator_pb2
from server_helpers import Bench, bench_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Attached:
    """A client with a session."""

    def __init__(self, bench: Bench, pages: int = 300) -> None:
        self.bench = bench
        self.client = NodeClient(bench.service.address, 5 * NS_PER_S)
        self.client.identify()
        self.session, self.telemetry = self.client.attach(Region("host-a", pages * PAGE), take_over=False)

    def write(self, first: int, *pages: bytes) -> NodeWritten:
        """Write pages from page number `first` on."""
        dpas = [(first + index) * PAGE for index in range(len(pages))]
        return self.client.write(self.session, dpas, b"".join(pages))

    def read(self, *numbers: int) -> tuple[NodeLoaded, dict[int, bytes]]:
        """Read pages; by page number."""
        got: dict[int, bytes] = {}

        def take(positions: Sequence[int], data: bytes | memoryview) -> None:
            for index, position in enumerate(positions):
                got[numbers[position]] = bytes(data[index * PAGE : (index + 1) * PAGE])

        return self.client.read(self.session, [number * PAGE for number in numbers], take), got


@pytest.fixture
def node() -> Iterator[Attached]:
    """Attached to a device of 1 MiB that takes four pages a request and two ranges a TRIM."""
    with bench_of(max_pages_per_request=4, max_ranges_per_trim=2) as bench:
        attached = Attached(bench)
        yield attached
        attached.client.close()


def test_batches_are_split_to_the_devices_limits(node: Attached) -> None:
    """Ten pages through requests of four; five ranges through TRIMs of two."""
    pages = [prose(number) for number in range(10)]
    assert node.write(0, *pages) == NodeWritten(NodeStatus.OK, 10)
    answer, got = node.read(*range(10))
    assert answer == NodeLoaded(NodeStatus.OK)
    assert got == dict(enumerate(pages))
    ranges = [(number * 2 * PAGE, PAGE) for number in range(5)]
    assert node.client.trim(node.session, ranges).status is NodeStatus.OK
    assert node.client.flush(node.session) is NodeStatus.OK
    assert node.client.telemetry(node.session).region.stored_pages == 5
    assert node.read(0, 1)[1] == {0: bytes(PAGE), 1: prose(1)}


def test_device_time_is_added_up_by_operation(node: Attached) -> None:
    """As the device says, and no wall time."""
    node.write(0, *(noise(number) for number in range(6)))
    node.read(*range(6))
    assert node.client.device_ns["write"] >= 6 * 250 / 4
    assert node.client.device_ns["read"] >= 6 * 250 / 4


def test_no_more_writes_says_how_many_were_accepted(node: Attached) -> None:
    """Over several requests; the telemetry that came with it is kept for the policy."""
    accepted, answer = 0, NodeWritten(NodeStatus.OK, 0)
    for first in range(0, 256, 10):
        answer = node.write(first, *(noise(first + index) for index in range(10)))
        accepted += answer.accepted
        if answer.status is not NodeStatus.OK:
            break
    assert answer.status is NodeStatus.NO_MORE_WRITES
    # 1 MiB of media, 4096 + 16 bytes a page.
    assert accepted == (1 << 20) // (PAGE + 16)
    assert node.client.refused_telemetry is not None
    assert node.client.refused_telemetry.no_more_writes
    last = accepted - 1
    assert node.read(last)[1] == {last: noise(last)}


def test_poison_names_its_pages_and_the_others_are_read(node: Attached) -> None:
    """Over several requests: positions, not addresses."""
    node.write(0, *(prose(number) for number in range(8)))
    node.bench.inject(poison=operator_pb2.PoisonFault(host="host-a", dpas=[PAGE, 6 * PAGE]))
    answer, got = node.read(7, 6, 5, 4, 3, 2, 1, 0)
    assert answer == NodeLoaded(NodeStatus.POISONED, frozenset({1, 6}))
    assert got == {number: prose(number) for number in (7, 5, 4, 3, 2, 0)}


def test_all_pages_poisoned(node: Attached) -> None:
    """Nothing is left to be asked for."""
    node.write(0, prose(0))
    node.bench.inject(poison=operator_pb2.PoisonFault(host="host-a", dpas=[0]))
    assert node.read(0) == (NodeLoaded(NodeStatus.POISONED, frozenset({0})), {})


def test_a_reset_device_is_gone(node: Attached) -> None:
    """Every data call says so, and the reason is kept; a renewal is refused."""
    node.write(0, prose(0))
    node.bench.reset()
    assert node.write(1, prose(1)).status is NodeStatus.GONE
    assert node.read(0)[0].status is NodeStatus.GONE
    assert node.client.trim(node.session, [(0, PAGE)]).status is NodeStatus.GONE
    assert node.client.flush(node.session) is NodeStatus.GONE
    assert node.client.gone_reason == "STALE_GENERATION"
    with pytest.raises(NodeRefused, match="STALE_GENERATION") as refused:
        node.client.renew(node.session, wait_s=5)
    assert refused.value.session_over


def test_a_lease_that_ran_out_is_gone(node: Attached) -> None:
    """For that reason."""
    node.bench.clock.advance(3600 * NS_PER_S)
    assert node.write(0, prose(0)).status is NodeStatus.GONE
    assert node.client.gone_reason == "LEASE_EXPIRED"


def test_a_region_that_is_too_large_is_refused(node: Attached) -> None:
    """Told as the device tells it, and not taken for a session's end."""
    with pytest.raises(NodeRefused, match="LOGICAL_CAPACITY") as refused:
        node.client.attach(Region("host-b", 1 << 40), take_over=False)
    assert not refused.value.session_over


def test_a_bug_of_ours_is_loud(node: Attached) -> None:
    """A refusal that no correct agent meets is no status."""
    with pytest.raises(ProtocolBroken, match="OUT_OF_RANGE"):
        node.write(1 << 30, prose(0))


def test_nobody_there_is_silent() -> None:
    """Within the time that we wait; the request never left, so nothing can have happened."""
    client = NodeClient("127.0.0.1:1", NS_PER_S // 5)
    with pytest.raises(NodeSilent, match="failed to connect") as silent:
        client.identify()
    assert not silent.value.may_have_happened
    session = Session("s", "g", NS_PER_S)
    assert client.write(session, [0], prose(0)).status is NodeStatus.UNAVAILABLE
    client.close()


# -- a device that answers as a test wants -----------------------------------------------------------


class Flaky:
    """Each call first does what stands next in `plan`, then answers well."""

    def __init__(self, *plan: Callable[[grpc.ServicerContext], object]) -> None:
        self.plan = list(plan)
        self.attaches: list[device_pb2.AttachRequest] = []
        self.writes = 0

    def attach(self, packed: bytes, context: grpc.ServicerContext) -> bytes:
        """Remember the request."""
        self.attaches.append(device_pb2.AttachRequest.FromString(packed))
        self._next(context)
        return device_pb2.AttachResponse(session="s", generation="g", lease_ns=NS_PER_S).SerializeToString()

    def write(self, packed: bytes, context: grpc.ServicerContext) -> bytes:
        """Count it."""
        self.writes += 1
        self._next(context)
        pages = len(memory_pb2.WriteRequest.FromString(packed).dpas)
        return memory_pb2.WriteResponse(accepted_pages=pages).SerializeToString()

    def _next(self, context: grpc.ServicerContext) -> None:
        if self.plan:
            self.plan.pop(0)(context)


def unavailable(context: grpc.ServicerContext) -> None:
    """The connection broke after the request was sent."""
    context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def too_late(context: grpc.ServicerContext) -> None:
    """The answer did not come in time."""
    context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


@contextmanager
def served(flaky: Flaky, timeout_ns: int = 5 * NS_PER_S) -> Iterator[NodeClient]:
    """A client of a flaky device."""
    server = grpc.server(ThreadPoolExecutor(2))
    for name, method, call in (
        ("cramwire.v1.DeviceService", "Attach", flaky.attach),
        ("cramwire.v1.MemoryService", "Write", flaky.write),
    ):
        handler = grpc.unary_unary_rpc_method_handler(call)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = NodeClient(f"127.0.0.1:{port}", timeout_ns)
    try:
        yield client
    finally:
        client.close()
        server.stop(None).wait()


def test_a_silent_moment_is_waited_out() -> None:
    """The same write is asked for again until it is answered."""
    flaky = Flaky(unavailable, too_late, unavailable)
    with served(flaky) as client:
        answer = client.write(Session("s", "g", NS_PER_S), [0], prose(0))
    assert answer == NodeWritten(NodeStatus.OK, 1)
    assert flaky.writes == 4


def test_a_long_silence_is_unavailable() -> None:
    """Within the time that the runner waits, and a little."""
    flaky = Flaky(*[unavailable] * 100)
    with served(flaky, NS_PER_S // 4) as client:
        answer = client.write(Session("s", "g", NS_PER_S), [0], prose(0))
    assert answer == NodeWritten(NodeStatus.UNAVAILABLE, 0)
    assert 2 <= flaky.writes < 20


def test_an_unanswered_attach_is_taken_over() -> None:
    """The first one may have happened: without take_over, our own session would stand in our way."""
    flaky = Flaky(unavailable)
    with served(flaky) as client:
        client.attach(Region("host-a", PAGE), take_over=False)
    assert [request.take_over for request in flaky.attaches] == [False, True]


@pytest.mark.parametrize("address", ["127.0.0.1:7700", "device.example:1", "[::1]:7700", "unix:/run/d.sock"])
def test_addresses(address: str) -> None:
    """As they are written."""
    assert device_target(address) == address


@pytest.mark.parametrize("address", ["", "7700", ":7700", "host:", "host:x", "host:0", "host:65536", "unix:"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """In one line that shows what is one."""
    with pytest.raises(ValueError, match="write HOST:PORT or unix:"):
        device_target(address)

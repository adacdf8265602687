"""An emulated world and the real one say the same: call by call, and in the decisions of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cramagent.node_client import NodeClient, Region, Session
from cramagent.refusals import NodeRefused
from cramlab.scenario.evaluate import evaluate, passed
from cramlab.scenario.live.run import run_live
from cramlab.scenario.model import WireTimes
from cramlab.scenario.reader import read_scenario
from cramlab.scenario.watching import Unwatched
from cramlab.simulated.clock import EmulatedClock
from cramlab.simulated.device import SimulatedDevice
from cramlab.simulated.simulate import simulate
from cramlab.simulated.world import World
from cramwire.v1 import device_pb2, device_pb2_grpc, operator_pb2
from cxldev.config import DeviceConfig
from cxldevd.settings import Settings
from server_helpers import MIB, PAGE, bench_of, noise, prose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cramlab.simulated.wire import EmulatedChannel

CONFIG: dict[str, Any] = {"max_pages_per_request": 4, "max_ranges_per_trim": 2}
SECOND = 1_000_000_000
TIMES = WireTimes(data_ns=500, control_ns=20_000, event_ns=10_000, jitter_milli=0)


class Emulated:
    """A device of 1 MiB in a world of its own, and a wire to it."""

    def __init__(self, world: World, **config: Any) -> None:
        settings = Settings(device=DeviceConfig(physical_capacity_bytes=MIB, **{**CONFIG, **config}))
        self.world = world
        self.device = SimulatedDevice(world, settings, seed=1, times=TIMES)
        self.channel: EmulatedChannel = self.device.channel("host-a", 1)

    def client(self) -> NodeClient:
        """As the agent has it."""
        clock = EmulatedClock(self.world)
        return NodeClient("the device", SECOND, "calls", channel=self.channel, clock=clock)

    def do(self, act: Callable[[], object]) -> None:
        """Have something done by a task, to its end."""
        task = self.world.spawn("test", act)
        self.world.run(lambda: not task.is_alive())


@pytest.fixture
def emulated() -> Iterator[Emulated]:
    """Ended afterwards."""
    world = World()
    made = Emulated(world)
    yield made
    world.end()
    made.device.close()


def play(client: NodeClient) -> list[object]:
    """All kinds of answers that a host gets, without what is drawn at random."""
    said: list[object] = [client.identify().limits.pages_per_request]
    session, telemetry = client.attach(Region("host-a", 300 * PAGE), take_over=False)
    said.append(telemetry.region.limit_media_bytes)
    got: list[bytes] = []

    def take(_: Sequence[int], data: bytes | memoryview) -> None:
        got.append(bytes(data))

    def dpas(first: int, count: int) -> list[int]:
        return [page * PAGE for page in range(first, first + count)]

    said += [
        client.write(session, dpas(0, 9), prose(9)),
        client.read(session, dpas(0, 10), take),
        client.trim(session, [(0, PAGE), (2 * PAGE, PAGE), (4 * PAGE, PAGE)]),
        client.flush(session),
        client.read(session, dpas(0, 9), take),
        client.write(session, dpas(20, 280), noise(280)),
        client.telemetry(session).media_used_bytes,
        client.read(Session(session.session, "0", 1), dpas(0, 1), take),
        client.gone_reason,
    ]
    with pytest.raises(NodeRefused) as refused:
        client.attach(Region("host-a", PAGE), take_over=False)
    said += [refused.value.refusal.reason, client.detach(session), dict(client.device_ns), got]
    return said


def test_every_call_is_answered_as_over_a_real_port(emulated: Emulated) -> None:
    """Splitting, refusals with their details, device time, bytes."""
    with bench_of(**CONFIG) as bench:
        client = NodeClient(bench.service.address, 5 * SECOND)
        real = play(client)
        client.close()
    answers: list[object] = []
    emulated.do(lambda: answers.extend(play(emulated.client())))
    assert answers == real


def test_a_call_takes_its_way_there_its_device_time_and_its_way_back(emulated: Emulated) -> None:
    """In emulated time, to the nanosecond."""
    took: list[int] = []

    def call() -> None:
        client = emulated.client()
        session, _ = client.attach(Region("host-a", 4 * PAGE), take_over=False)
        began = emulated.world.now_ns
        client.renew(session, wait_s=1.0)
        took.append(emulated.world.now_ns - began)
        began = emulated.world.now_ns
        client.write(session, [0], prose(1))
        took.append(emulated.world.now_ns - began - client.device_ns["write"])

    emulated.do(call)
    assert took == [2 * TIMES.control_ns, 2 * TIMES.data_ns]


def test_a_device_that_answers_too_late_is_silent(emulated: Emulated) -> None:
    """The caller's deadline ends the call, and the handler learns that nobody waits."""
    slow = operator_pb2.Fault(latency=operator_pb2.LatencyFault(wall_ns=60 * SECOND))
    met: list[int] = []

    def call() -> None:
        client = emulated.client()
        session, _ = client.attach(Region("host-a", 4 * PAGE), take_over=False)
        emulated.device.operator.inject(slow)
        began = emulated.world.now_ns
        answer = client.write(session, [0], prose(1))
        met.append(emulated.world.now_ns - began)
        assert answer.status.name == "UNAVAILABLE"
        client.renew(session, wait_s=1.0)

    emulated.do(call)
    assert SECOND // 2 <= met[0] <= SECOND


def test_a_closed_channel_and_an_unknown_method_fail_as_they_do_in_grpc(emulated: Emulated) -> None:
    """By the errors that the agent tells apart."""
    failures: list[object] = []

    def call() -> None:
        operator = device_pb2_grpc.DeviceServiceStub(emulated.channel)
        unknown = emulated.channel.unary_unary("/cramwire.v1.DeviceService/Sing", None, None)
        with pytest.raises(grpc.RpcError) as refused:
            unknown(b"", timeout=1.0)
        # What gRPC raises is a call, too; its stubs do not say so.
        status: Any = refused.value
        failures.append(status.code())
        emulated.channel.close()
        with pytest.raises(ValueError, match="closed channel"):
            operator.Identify(device_pb2.IdentifyRequest(), timeout=1.0)

    emulated.do(call)
    assert failures == [grpc.StatusCode.UNIMPLEMENTED]


SCENARIO = """
question = "Does a host do live what it does in emulated time?"
seed = 3
duration = "5s"

[device]
physical = "4MiB"

[host.a]
pages = 600
budget = 16
write-share = 0.2
rate = 500
on-bus-error = "rescue"

[[timeline]]
at = "1s"
inject = "exhaustion"
share = 1.0

[[timeline]]
at = "3500ms"
clear = "exhaustion"

[[expect]]
that = "the closed node's pages move on to swap"
metric = "cram_writebacks_total"
above = 0

[[expect]]
that = "nothing is lost"
metric = "cram_pages_lost_total"
is = 0
"""


@pytest.mark.e2e
def test_a_host_decides_live_as_it_does_in_emulated_time(tmp_path: Path) -> None:
    """The same events of the node in the same order, and the same verdicts; the times differ."""
    path = tmp_path / "both.toml"
    path.write_text(SCENARIO)
    scenario = read_scenario(path)
    runs = [run_live(scenario, tmp_path, Unwatched()), simulate(scenario)]
    told = [
        [
            event.name
            for event in run.measurements.events
            if event.who == "a" and event.name.startswith("node_")
        ]
        for run in runs
    ]
    assert told[0] == told[1] == ["node_closed", "node_opened"]
    verdicts = [[(verdict.that, verdict.holds) for verdict in evaluate(run)] for run in runs]
    assert verdicts[0] == verdicts[1]
    assert all(passed(run, evaluate(run)) for run in runs)

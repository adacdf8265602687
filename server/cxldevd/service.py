"""The whole service: the device, two gRPC listeners, the metrics endpoint, and their orderly end."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from cramwire.transport import server_options
from cxldevd.attach_rate import AttachRate
from cxldevd.call_lines import CallLines
from cxldevd.calls import Guard, Service
from cxldevd.clock import Clock, SystemClock
from cxldevd.connections import Connections
from cxldevd.control_path import ControlPath
from cxldevd.device_calls import DeviceCalls
from cxldevd.event_lines import EventLines
from cxldevd.identity.files import CredentialsError
from cxldevd.identity.keyring import Keyring
from cxldevd.ids import Ids
from cxldevd.in_flight import InFlight
from cxldevd.lanes.calls import LaneCalls, lane_service
from cxldevd.lanes.commands import LaneCommands, TracedCommands
from cxldevd.lanes.door import Door
from cxldevd.listener import BindError, Listener
from cxldevd.log import log_event
from cxldevd.losses import Losses
from cxldevd.memory_calls import MemoryCalls
from cxldevd.methods import device_service, fault_service, memory_service, oracle_service, region_service
from cxldevd.metrics import DeviceCollector
from cxldevd.metrics_server import MetricsServer
from cxldevd.operator_calls import FaultCalls, OracleCalls
from cxldevd.page.answers import DevicePage
from cxldevd.page.recorder import Recorder
from cxldevd.pools import SPARE_THREADS, CountedPool
from cxldevd.region_calls import RegionCalls
from cxldevd.request_metrics import RequestMetrics
from cxldevd.runtime import Runtime
from cxldevd.session_hosts import SessionHosts
from cxldevd.slots import Slots
from cxldevd.state_dir import StateError
from cxldevd.state_keeper import StateKeeper
from cxldevd.state_metrics import StateCollector
from cxldevd.transfer import TransferCall, Transfers
from cxldevd.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramwire.otel import Traces
    from cxldevd.settings import Settings

__all__ = ["BindError", "CredentialsError", "Cxldevd", "StateError", "serve"]

_CONTROL_THREADS: Final = 64
"""Of hosts, and of operators. A call that was opened and sends no request holds one until it is given up."""
_RENEW_THREADS: Final = 32
_WAITING_CALLS: Final = 64
"""Calls of one pool that wait (for their request, for a fault) and keep nobody else waiting."""
_RECEIVING: Final = 4
"""Data calls whose requests are taken in while others work: until then nobody knows whose they are."""
_WAITING_DATA_CALLS: Final = 256
"""Likewise of data calls, which wait for their turn, too: of two connections' worth, there are some left."""
_HEALTH_THREADS: Final = 8
_TURNING_AWAY_THREADS: Final = 2
_REFLECTION_THREADS: Final = 4
_FLUSHES: Final = 64
"""FLUSHes that wait at one time."""
_FLUSHES_OF_ONE: Final = 16
"""Of one host."""


class Cxldevd:
    """A service that serves. Made by `serve`. Not started, it can be called through its services alone."""

    def __init__(
        self, settings: Settings, clock: Clock, cleanup: ExitStack, traces: Traces | None = None
    ) -> None:
        device = settings.device
        self.settings = settings
        self.keeper: StateKeeper | None = None
        if settings.state is not None:
            self.keeper = StateKeeper(settings.state, settings.save_every_ns, clock)
            cleanup.callback(self.keeper.close)
        self.runtime = Runtime(device, clock, Ids(settings.seed), self.keeper)
        registry = CollectorRegistry()
        metrics = RequestMetrics(registry)
        self.keyring = Keyring(settings)
        self.losses = losses = Losses(self.runtime, Connections(settings.listen.path))
        lines = CallLines(self.runtime)
        hosts = SessionHosts(self.runtime)
        guard = Guard(device, clock, metrics, losses, lines, self.keyring.host_gate(hosts), traces)
        operators_guard = replace(guard, gate=self.keyring.operator_gate())
        in_flight = InFlight(settings.max_in_flight_bytes, settings.in_flight_host_bytes)
        self.turns = Turns(settings.workers)
        attaches = AttachRate(settings.attach_rate_host, settings.attach_rate, clock.now_ns())
        self.host_watchers = Slots(settings.max_watchers, "event streams", settings.watchers_host)
        self.flushes = Slots(_FLUSHES, "FLUSHes", _FLUSHES_OF_ONE)
        self.open_transfers = Slots(settings.max_transfers, "open Transfer calls", settings.transfers_host)
        operator_watchers = Slots(settings.max_watchers, "event streams")
        ProcessCollector(registry=registry)
        watchers = {"host": self.host_watchers, "operator": operator_watchers}
        registry.register(DeviceCollector(self.runtime, metrics, in_flight, self.turns, watchers))
        registry.register(StateCollector(self.keeper))

        control = _pool(cleanup, _CONTROL_THREADS, "control", _WAITING_CALLS)
        operators = _pool(cleanup, _CONTROL_THREADS, "operator")
        data = _pool(cleanup, settings.workers + _RECEIVING, "data", _WAITING_DATA_CALLS)
        flushing = _pool(cleanup, _FLUSHES + SPARE_THREADS, "flush")
        watching = _pool(cleanup, settings.max_watchers + SPARE_THREADS, "watch")
        renewing = _pool(cleanup, _RENEW_THREADS, "renew", _WAITING_CALLS)
        transferring = _pool(cleanup, settings.max_transfers + SPARE_THREADS, "transfer", SPARE_THREADS)
        turning_away = _pool(cleanup, _TURNING_AWAY_THREADS, "busy")
        overlooking = _pool(cleanup, settings.max_watchers + SPARE_THREADS, "operator-watch")

        def service(name: str, pool: CountedPool) -> Service:
            mine = operators_guard if pool is operators else guard
            return Service(name, mine, pool, turning_away, settings.max_queued_calls)

        memory_calls = MemoryCalls(
            self.runtime,
            hosts,
            self.turns,
            in_flight,
            self.flushes,
            metrics=metrics,
            time_dilation=settings.time_dilation,
        )
        self.transfers = Transfers(self.runtime, memory_calls, guard, self.open_transfers)
        self.host_services = [
            device_service(
                service("cramwire.v1.DeviceService", control),
                DeviceCalls(self.runtime, ControlPath(self.runtime), self.host_watchers, attaches),
                watching,
                renewing,
            ),
            memory_service(
                service("cramwire.v1.MemoryService", control),
                memory_calls,
                data,
                flushing,
                TransferCall(self.transfers, guard, transferring, settings.max_transfers),
            ),
        ]
        self.door: Door | None = None
        lanes = Gauge("cxldev_lanes", "Same-host lanes that are open.", registry=registry)
        if settings.lanes:
            commands = (
                LaneCommands(self.runtime, memory_calls, guard)
                if traces is None
                else TracedCommands(self.runtime, memory_calls, guard, traces)
            )
            door = Door(self.runtime, commands, settings.listen, settings.max_lanes)
            lanes.set_function(lambda: door.lanes)
            self.door = door
            self.host_services.append(
                lane_service(service("cramwire.v1.LaneService", control), LaneCalls(door))
            )
        self.operator_services = [
            fault_service(service("cramwire.v1.FaultService", operators), FaultCalls(self.runtime, losses)),
            region_service(service("cramwire.v1.RegionService", operators), RegionCalls(self.runtime)),
            oracle_service(
                service("cramwire.v1.OracleService", operators),
                OracleCalls(self.runtime, operator_watchers),
                overlooking,
            ),
        ]
        self._listeners = [
            Listener(
                address,
                services,
                _pool(cleanup, _HEALTH_THREADS, f"{side}-health"),
                _pool(cleanup, _REFLECTION_THREADS, f"{side}-reflection"),
                tls,
                options=server_options(settings.max_message_bytes, settings.max_connections),
            )
            for address, services, side, tls in (
                (settings.listen, self.host_services, "host", self.keyring.host_tls),
                (settings.operator, self.operator_services, "operator", self.keyring.operator_tls),
            )
        ]
        self.probed: Listener | None = None
        if settings.health is not None:
            # It tells whether we serve, and nothing of what: there is nobody to keep out.
            self.probed = Listener(
                settings.health,
                (),
                _pool(cleanup, _HEALTH_THREADS, "probe-health"),
                _pool(cleanup, _REFLECTION_THREADS, "probe-reflection"),
                options=server_options(settings.max_message_bytes, settings.max_connections),
            )
            self._listeners.append(self.probed)
        self._event_lines = EventLines(self.runtime)
        self._requests = metrics
        self.registry = registry
        self.address = self.operator_address = self.metrics_address = ""

    @property
    def origin(self) -> str:
        """How that power-on began."""
        with self.runtime.device():
            return self.runtime.origin

    @property
    def generation(self) -> str:
        """Of the power-on that is now."""
        with self.runtime.device() as (device, _):
            return device.generation

    def start(self, cleanup: ExitStack) -> None:
        """Bind and serve.

        Raises:
            BindError: an address cannot be had; one line says which and why.
        """
        for listener in self._listeners:
            cleanup.callback(listener.stop)
            listener.bind()
        self.address, self.operator_address = (listener.address for listener in self._listeners[:2])
        if self.settings.metrics is not None:
            keys = self.keyring
            recorder = Recorder(self.runtime)
            scraped = MetricsServer(
                self.settings.metrics,
                self.registry,
                DevicePage(recorder),
                keys.metrics_tls,
                keys.metrics_tokens,
            )
            recorder.start()
            cleanup.callback(recorder.stop)
            scraped.start()
            cleanup.callback(scraped.stop)
            self.metrics_address = scraped.address
        self.runtime.start()
        cleanup.callback(self.runtime.stop)
        if self.keeper is not None:
            self.keeper.start(self.runtime)
            cleanup.callback(self.keeper.stop)
        self._event_lines.start()
        cleanup.callback(self._event_lines.stop)
        if self.door is not None:
            cleanup.callback(self.door.stop)
            self.door.bind()
            self.door.start()
        for listener in self._listeners:
            listener.start()

    def drain(self) -> None:
        """Say NOT_SERVING, take no new calls, end watchers and waiters, let data calls finish."""
        log_event("drain", running=sum(self._requests.running_now().values()), generation=self.generation)
        for listener in self._listeners:
            listener.not_serving()
        self.runtime.drain()
        self.transfers.end_resting()
        self.losses.look()
        for listener in self._listeners:
            listener.stop(self._requests.wait_idle, self.settings.drain_grace_ns / 1e9)
        if self.door is not None:
            self.door.stop()
        self._event_lines.stop()
        if self.keeper is not None:
            # Nobody keeps deadlines any more: what falls due from here on is for the next process.
            self.runtime.stop()
            self.keeper.save_last(self.runtime)
        log_event("stopped", generation=self.generation)


@contextmanager
def serve(settings: Settings, clock: Clock | None = None, traces: Traces | None = None) -> Iterator[Cxldevd]:
    """A service that serves while this is entered, and is drained when it is left.

    Args:
        settings: port 0 wherever any free port will do.
        clock: of the device, its leases and all waiting; a `ManualClock` in tests.
        traces: who is told of calls; closed when this is left. None: nobody.

    Raises:
        BindError: an address cannot be had.
        CredentialsError: a certificate or a file of tokens cannot be used.
        StateError: the folder of saved states, or the state in it, cannot be used; or, when this is left,
            the device was not saved.
    """
    with ExitStack() as cleanup:
        if traces is not None:
            cleanup.callback(traces.close)
        service = Cxldevd(settings, clock or SystemClock(), cleanup, traces)
        service.start(cleanup)
        cleanup.callback(service.drain)
        yield service


def _pool(cleanup: ExitStack, threads: int, name: str, spare: int = 0) -> CountedPool:
    pool = CountedPool(threads, name, spare)
    cleanup.callback(pool.shutdown, cancel_futures=True)
    return pool

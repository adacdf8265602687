"""The device of an emulated world: the whole service, without listeners and threads."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cramctl.operator import Operator
from cramlab.scenario.model import WireTimes
from cramlab.simulated.clock import EmulatedClock
from cramlab.simulated.wire import EmulatedChannel
from cxldevd.metrics import status_families
from cxldevd.service import Cxldevd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from cramlab.simulated.world import World
    from cxldevd.settings import Settings

_AT_ONCE: Final = WireTimes(0, 0, 0, 0)


class SimulatedDevice:
    """A device that lives from the world's beginning to its end.

    Commands take their device time: where the settings name no time dilation, it is 1.
    """

    def __init__(self, world: World, settings: Settings, *, seed: int, times: WireTimes) -> None:
        self._world = world
        self._times = times
        self._cleanup = ExitStack()
        self._clock = EmulatedClock(world)
        emulated = replace(
            settings, lane="off", metrics=None, seed=seed, time_dilation=settings.time_dilation or 1.0
        )
        self._service = Cxldevd(emulated, self._clock, self._cleanup)
        self._clock.start("device timer", self._service.runtime.keep_deadlines)
        self.operator: Final = Operator("the emulated device", channel=self._operator_channel())

    def channel(self, host: str, seed: int) -> EmulatedChannel:
        """A new wire to a host; its jitter is drawn from the seed."""
        return EmulatedChannel(
            self._world, self._service.host_services, peer=host, times=self._times, seed=seed
        )

    def _operator_channel(self) -> EmulatedChannel:
        return EmulatedChannel(
            self._world, self._service.operator_services, peer="operator", times=_AT_ONCE, seed=0
        )

    def families(self) -> Iterator[Metric]:
        """What the device counts now, as its `/metrics` would."""
        with self._service.runtime.device() as (device, now_ns):
            status = device.status(now_ns)
        return status_families(status)

    def audit(self) -> None:
        """Count all media again from the ground. Raises CapacityIdentityBroken."""
        with self._service.runtime.device() as (device, _):
            device.audit()

    def close(self) -> None:
        """Give back what it holds. The world has ended."""
        self._cleanup.close()

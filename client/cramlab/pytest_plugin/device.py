"""A device under test: a `cxldevd` process, its operator's side, and faults that end with a `with` block."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from cramctl.describe import describe_status, watermark
from cramctl.events import Follower
from cramctl.operator import Operator, OperatorError
from cramlab.processes import DeviceProcess, ProcessError
from cramlab.pytest_plugin.faults import InjectedFault, fault_of
from cramlab.pytest_plugin.settings import arguments
from cramlab.pytest_plugin.waiting import wait_until
from cramlab.scrape import scrape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cramlab.scrape import Samples

DEADLINE_S: Final = 30.0
_PHYSICAL: Final = "64MiB"


@dataclass(frozen=True, slots=True)
class DeviceTelemetry:
    """The device at one moment. Sizes in bytes, ratios per mille, counts in pages."""

    generation: str
    logical_capacity_bytes: int
    physical_capacity_bytes: int
    media_used_bytes: int
    media_free_bytes: int
    media_reserved_bytes: int
    """Held back by faults; a part of what is used."""
    stored_pages: int
    ratio_milli: int
    watermark: str
    """`above_high`, `high`, `medium`, `low` or `critical`."""
    no_more_writes: bool
    """A write found no media, and the device has not recovered since."""
    writes_refused: int
    """Pages turned away for want of media since the process started."""
    poison_created: int
    poison_read: int
    trim_queued_pages: int
    hosts: tuple[str, ...]
    """Those that are attached."""
    faults: tuple[str, ...]
    """Kinds of the faults that are armed."""


class CxlDevice:
    """One device. Its addresses are for clients in any language."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        """`settings`: of `cxldevd`, by flag, without the dashes. It is not started yet."""
        options = {"physical": _PHYSICAL, **settings}
        physical = str(options.pop("physical"))
        self.process = DeviceProcess(folder, physical=physical, args=arguments(options))
        self._stack = ExitStack()
        self._operator: Operator | None = None

    def __repr__(self) -> str:
        return f"<CxlDevice {self.address if self.process.facts else 'not started'}>"

    # -- where it is ------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where hosts attach: HOST:PORT, or unix:PATH."""
        return self.process.address

    @property
    def operator_address(self) -> str:
        """Where faults are armed and the oracle answers."""
        return self.process.operator_address

    @property
    def metrics_address(self) -> str:
        """Where Prometheus scrapes: `http://{metrics_address}/metrics`."""
        return self.process.metrics_address

    @property
    def environment(self) -> dict[str, str]:
        """The addresses as environment variables, for `cram-agent`, `cramctl`, and programs of your own."""
        return {
            "CRAM_AGENT_DEVICE": self.address,
            "CRAMCTL_OPERATOR": self.operator_address,
            "CXLDEVD_METRICS_URL": f"http://{self.metrics_address}/metrics",
        }

    @property
    def log(self) -> str:
        """All that it logged so far."""
        return self.process.log_text()

    # -- what it says -----------------------------------------------------------------------------

    @property
    def operator(self) -> Operator:
        """The operator's client that all of this goes through; the raw messages are to be had here."""
        if self._operator is None:
            self._operator = self._stack.enter_context(Operator(self.operator_address))
        return self._operator

    def telemetry(self) -> DeviceTelemetry:
        """The figures that tests ask for most."""
        status = self.operator.status()
        told, counters = status.telemetry, status.counters
        return DeviceTelemetry(
            generation=told.generation,
            logical_capacity_bytes=told.logical_capacity_bytes,
            physical_capacity_bytes=told.physical_capacity_bytes,
            media_used_bytes=told.media_used_bytes,
            media_free_bytes=told.media_free_bytes,
            media_reserved_bytes=status.media.reserved_bytes,
            stored_pages=told.stored_pages,
            ratio_milli=told.ratio_milli,
            watermark=watermark(told.watermark),
            no_more_writes=told.no_more_writes,
            writes_refused=counters.refused_pages,
            poison_created=counters.poison_created_pages,
            poison_read=counters.poison_read_pages,
            trim_queued_pages=told.trim_queued_pages,
            hosts=tuple(region.telemetry.host for region in status.regions),
            faults=tuple(armed.fault.WhichOneof("kind") or "" for armed in status.faults),
        )

    def status(self) -> dict[str, Any]:
        """Everything that the operator may know, as `cramctl status --json` prints it."""
        return describe_status(self.operator.status())

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """What happened in this generation so far, as `cramctl events --no-follow` prints it."""
        return list(Follower(self.operator, after).existing())

    def metrics(self) -> Samples:
        """Its metrics now: `metrics().total("cxldev_pages_total", {"operation": "write"})`."""
        return scrape(self.metrics_address)

    def wait_for(
        self, holds: Callable[[DeviceTelemetry], object], deadline_s: float = DEADLINE_S
    ) -> DeviceTelemetry:
        """Wait until a condition holds: `wait_for(lambda now: now.stored_pages > 1000)`. The figures then.

        Raises:
            NeverCame: it did not hold in time; the message has the last figures.
        """
        return wait_until(self.telemetry, holds, deadline_s)

    # -- faults -----------------------------------------------------------------------------------

    def inject(self, kind: str, **settings: Any) -> InjectedFault:
        """Arm a fault, or do what it says at once: `inject("latency", wall="1ms", only="write", count=3)`.

        Kinds, settings and scopes are those of `cramctl inject`. As a `with` block it is cleared at the end.

        Raises:
            ValueError: there is no such kind or setting; the message names those that there are.
            OperatorError: the device refused, in its words.
        """
        __tracebackhide__ = True  # a refusal is about the test's own line
        fault = fault_of(kind, settings)
        try:
            said = self.operator.inject(fault)
        except OperatorError as refused:
            raise refused from None
        return InjectedFault(self.operator, fault.WhichOneof("kind") or "", said)

    def exhausted(self, share: float = 1.0) -> InjectedFault:
        """No media is left (or only a part of it) until the `with` block is left."""
        return self.inject("exhaustion", share=share)

    def clear(self) -> int:
        """Clear all faults. How many there were."""
        return self.operator.clear().cleared

    # -- life -------------------------------------------------------------------------------------

    def power_cycle(self) -> None:
        """Kill the process and start it on the same ports: all bytes are gone, a new generation."""
        self._hang_up()
        self.process.restart()

    def kill(self) -> None:
        """Power off, no goodbye."""
        self.process.kill()

    def leave_clean(self) -> None:
        """For a device that tests share: no fault stays armed, and one that has ended is started again."""
        if self.process.running:
            self.clear()
            return
        tail = self.process.log_tail()
        self.power_cycle()
        pytest.fail(f"the test left the shared device dead; it was started again{tail}", pytrace=False)

    def _hang_up(self) -> None:
        """A connection to a process that has ended fails once more before it is made anew."""
        self._stack.close()
        self._operator = None

    def close(self) -> None:
        """End it, however it stands. One that did not end in order fails the test."""
        self._hang_up()
        try:
            code = self.process.terminate() if self.process.running else self.process.returncode
        except ProcessError as error:
            pytest.fail(str(error), pytrace=False)
        finally:
            self.process.kill()
        if code not in {None, 0, -signal.SIGKILL}:
            pytest.fail(f"the device ended with {code}{self.process.log_tail()}", pytrace=False)

"""A scenario with real processes: one device, the hosts that the file names, and the timeline."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from cramctl.operator import Operator
from cramlab.processes import DeviceProcess, ProcessError
from cramlab.scenario.acting import Actor
from cramlab.scenario.live.clock import ZeroPoint
from cramlab.scenario.live.device_events import DeviceEvents
from cramlab.scenario.live.host import LiveHost
from cramlab.scenario.measurements import Measurements, Outcome, versions
from cramlab.scenario.model import DEVICE
from cramlab.scrape import read_families

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.model import Scenario, Step
    from cramlab.scenario.watching import Watcher

FILL_DEADLINE_S: Final = 120.0
"""How long all hosts may take until each has stored its pages once."""
END_DEADLINE_S: Final = 120.0
"""How long all hosts may take to verify and leave."""
_POLL_S: Final = 0.05
_STORED: Final = "cram_source_scans_total"


def run_live(scenario: Scenario, folder: Path, watcher: Watcher) -> Outcome:
    """Run it. All processes have ended when this returns or raises, whatever happened.

    Args:
        scenario: what to run.
        folder: for logs, reports and swap files.
        watcher: who is shown the run.

    Raises:
        ProcessError: the device or a program did not start, or the hosts never stored their pages.
        OperatorError: the device's operator's side does not answer.
        KeyboardInterrupt: Ctrl-C.
    """
    with ExitStack() as stack:
        return _LiveRun(scenario, folder, watcher, stack).run()


class _LiveRun:
    def __init__(self, scenario: Scenario, folder: Path, watcher: Watcher, stack: ExitStack) -> None:
        self._scenario = scenario
        self._watcher = watcher
        self._measured = Measurements()
        self._problems: list[str] = []
        settings = scenario.device
        args = [part for name, value in settings.given.items() for part in (f"--{name}", value)]
        physical = str(settings.settings.device.physical_capacity_bytes)
        self._device = stack.enter_context(DeviceProcess(folder, physical=physical, args=args))
        self._operator = stack.enter_context(Operator(self._device.operator_address))
        self._events = stack.enter_context(DeviceEvents(self._device.operator_address))
        self._hosts: dict[str, LiveHost] = {}
        for spec in scenario.hosts:
            self._hosts[spec.name] = LiveHost(spec, folder, self._device.address)
            stack.callback(self._hosts[spec.name].kill)
        self._actor = Actor(scenario, self._operator, self._hosts, self._happened)
        self._zero = ZeroPoint.now()

    def run(self) -> Outcome:
        self._fill()
        self._zero = ZeroPoint.now()
        for host in self._hosts.values():
            if host.spec.from_start:
                self._measured.happened(0, host.name, "host_started")
        self._play()
        self._end()
        self._take_events()
        return Outcome(
            self._scenario,
            "live",
            self._measured,
            versions(),
            (*self._actor.problems, *self._problems),
        )

    # -- before time zero -------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start the hosts that are there from the start, until each has stored all its pages once."""
        first = [host for host in self._hosts.values() if host.spec.from_start]
        for host in first:
            host.start()
        until = time.monotonic() + FILL_DEADLINE_S
        waiting = list(first)
        while waiting:
            waiting = [host for host in waiting if not _has_stored(host)]
            self._watcher.filling(len(first) - len(waiting), len(first))
            for host in waiting:
                if not host.running:
                    raise ProcessError(f"{host.name} ended before it had stored its pages{host.log_tail()}")
            if time.monotonic() > until:
                names = ", ".join(host.name for host in waiting)
                raise ProcessError(f"{names} did not store all pages within {FILL_DEADLINE_S:g} s")
            time.sleep(_POLL_S)

    # -- the timeline -----------------------------------------------------------------------------

    def _play(self) -> None:
        """Steps and samples, each when it is due."""
        scenario = self._scenario
        steps = list(scenario.timeline)
        next_sample_ns = 0
        while True:
            due_ns = min(next_sample_ns, steps[0].at_ns if steps else scenario.duration_ns)
            if due_ns >= scenario.duration_ns and not steps:
                break
            self._zero.sleep_until(due_ns)
            while steps and steps[0].at_ns <= self._zero.elapsed_ns():
                self._do(steps.pop(0))
            if next_sample_ns <= self._zero.elapsed_ns():
                self._sample()
                # A slow machine samples less often, it does not fall behind.
                next_sample_ns = max(next_sample_ns + scenario.sample_ns, self._zero.elapsed_ns())
        self._zero.sleep_until(scenario.duration_ns)
        self._sample()

    def _do(self, step: Step) -> None:
        self._watcher.said(self._zero.elapsed_ns(), self._actor.do(step))

    # -- what is seen -----------------------------------------------------------------------------

    def _sample(self) -> None:
        at_ns = self._zero.elapsed_ns()
        if not self._device.running:
            raise ProcessError(f"the device ended with {self._device.returncode}{self._device.log_tail()}")
        self._measured.take(at_ns, DEVICE, read_families(self._device.metrics_address))
        for host in self._hosts.values():
            if host.known and not host.running:
                self._has_ended(host)
            elif host.attached:
                # It may end while it is asked.
                with suppress(ProcessError):
                    self._measured.take(at_ns, host.name, host.metrics())
        self._watcher.sampled(at_ns, self._measured)

    def _has_ended(self, host: LiveHost) -> None:
        """Take down what it had counted, and how it ended."""
        with suppress(ProcessError):
            self._measured.take(self._zero.elapsed_ns(), host.name, host.last_metrics())
        if host.ended_in_order:
            self._happened(host.name, "host_stopped")
        else:
            self._happened(host.name, "host_ended", reason=host.ended_by())
        self._watcher.said(self._zero.elapsed_ns(), f"{host.name} has ended ({host.ended_by()})")
        host.forget()

    def _happened(self, who: str, name: str, **facts: str) -> None:
        self._measured.happened(self._zero.elapsed_ns(), who, name, **facts)

    def _take_events(self) -> None:
        """The device's and the agents' own, by the times that they told."""
        for wall_ns, name, facts in self._events.heard():
            self._measured.happened(self._zero.of_wall(wall_ns), DEVICE, name, **facts)
        for host in self._hosts.values():
            for wall_ns, name in host.events():
                self._measured.happened(self._zero.of_wall(wall_ns), host.name, name)
        if self._events.missed:
            self._problems.append(
                f"{self._events.missed} events of the device were missed: --event-log is short"
            )

    # -- the end ----------------------------------------------------------------------------------

    def _end(self) -> None:
        """Everybody verifies and leaves; then the device is looked at once more, and ends."""
        self._watcher.said(self._zero.elapsed_ns(), "the end: every host verifies all its pages")
        for host in self._hosts.values():
            if host.running and not host.ending:
                host.ask_to_end()
        until = time.monotonic() + END_DEADLINE_S
        while any(host.known for host in self._hosts.values()):
            for host in self._hosts.values():
                if host.known and not host.running:
                    self._has_ended(host)
                elif host.known and time.monotonic() > until:
                    self._problems.append(
                        f"{host.name} did not end within {END_DEADLINE_S:g} s, and was killed"
                    )
                    host.kill()
            self._watcher.sampled(self._zero.elapsed_ns(), self._measured)
            time.sleep(_POLL_S)
        self._measured.take(self._zero.elapsed_ns(), DEVICE, read_families(self._device.metrics_address))
        if (code := self._device.terminate()) != 0:
            self._problems.append(f"the device ended with {code}")


def _has_stored(host: LiveHost) -> bool:
    if not host.attached:
        return False
    with suppress(ProcessError):
        for family in host.metrics():
            for sample in family.samples:
                if sample.name == _STORED:
                    return sample.value >= 1
    return False

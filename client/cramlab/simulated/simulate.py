"""A scenario in emulated time: device, hosts and timeline in one thread, on one clock.

The service and the agent are the real ones. They do not know that their clock is emulated, that their
threads are tasks of one world, and that the wire between them is a queue. The same scenario and seed give
the same outcome, bit for bit, under the same version of zstd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramctl.events import Follower
from cramlab.scenario.acting import Actor
from cramlab.scenario.measurements import EVENTS, Measurements, Outcome, facts_of, versions
from cramlab.scenario.model import DEVICE
from cramlab.scenario.watching import Unwatched
from cramlab.simulated.clock import EPOCH_NS, CpuCosts
from cramlab.simulated.device import SimulatedDevice
from cramlab.simulated.host import SimulatedHost
from cramlab.simulated.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.model import HostSpec, Scenario
    from cramlab.scenario.watching import Watcher

_NS_PER_S: Final = 1_000_000_000
_POLL_NS: Final = 1_000_000
"""How exactly time zero is met."""
FILL_DEADLINE_NS: Final = 3_600 * _NS_PER_S
END_DEADLINE_NS: Final = 600 * _NS_PER_S
"""Emulated time that the hosts may take to verify and leave."""
_AUDITS: Final = 100
"""Times in a run that all media is counted again from the ground."""


class NotSimulated(Exception):
    """The scenario needs what an emulated world does not have; the message says what to do."""


def simulate(
    scenario: Scenario,
    watcher: Watcher | None = None,
    *,
    folder: Path | None = None,
    costs: CpuCosts | None = None,
) -> Outcome:
    """Run it.

    Args:
        scenario: what to run. Its seed is all the chance that there is.
        watcher: who is shown the run.
        folder: for what the hosts say, one `NAME.log` each; None: nobody reads it.
        costs: of the hosts' CPUs; None: the defaults.

    Raises:
        NotSimulated: a host's source is a program, or no host ever stored its pages.
        KeyboardInterrupt: Ctrl-C.
    """
    for host in scenario.hosts:
        if host.program is not None:
            raise NotSimulated(
                f"host {host.name}: its source is a running program, which lives in real time; "
                "run the scenario without --simulated, or give the host a synthetic, core or file source"
            )
    run = _Simulation(scenario, watcher or Unwatched(), costs or CpuCosts())
    try:
        return run.run()
    finally:
        run.close()
        if folder is not None:
            run.write_logs(folder)


class _Simulation:
    def __init__(self, scenario: Scenario, watcher: Watcher, costs: CpuCosts) -> None:
        self._scenario = scenario
        self._watcher = watcher
        self._world = World()
        self._device = SimulatedDevice(
            self._world, scenario.device.settings, seed=scenario.seed, times=scenario.wire
        )
        self._hosts = {spec.name: self._host(spec, costs) for spec in scenario.hosts}
        self._actor = Actor(scenario, self._device.operator, self._hosts, self._happened)
        self._measured = Measurements()
        self._heard: list[tuple[int, str, str, dict[str, str]]] = []
        """(time since the world began, who, event, facts): time zero is not known at first."""
        self._problems: list[str] = []
        self._zero_ns: int | None = None
        self._samples = 0
        self._audit_every = max(1, scenario.duration_ns // scenario.sample_ns // _AUDITS)

    def _host(self, spec: HostSpec, costs: CpuCosts) -> SimulatedHost:
        def note(event: str, facts: dict[str, str]) -> None:
            self._happened(spec.name, event, **facts)
            if event in {"host_stopped", "host_ended"}:
                self._take_host(spec.name)

        return SimulatedHost(
            spec, self._device, self._world, costs=costs, duration_ns=self._scenario.duration_ns, note=note
        )

    def run(self) -> Outcome:
        world = self._world
        world.spawn("device events", self._listen)
        play = world.spawn("scenario", self._play)
        world.run(lambda: not play.is_alive())
        zero_ns = self._zero_ns or 0
        for at_ns, who, name, facts in sorted(self._heard, key=lambda heard: heard[0]):
            self._measured.happened(at_ns - zero_ns, who, name, **facts)
        hosts = [problem for host in self._hosts.values() for problem in host.problems]
        return Outcome(
            self._scenario,
            "simulated",
            self._measured,
            versions(),
            (*self._actor.problems, *self._problems, *hosts),
        )

    def close(self) -> None:
        self._world.end()
        for host in self._hosts.values():
            host.close()
        self._device.close()

    def write_logs(self, folder: Path) -> None:
        for host in self._hosts.values():
            lines = [
                f"{(at_ns - (self._zero_ns or 0)) / _NS_PER_S:+.6f} s {text}\n" for at_ns, text in host.said
            ]
            (folder / f"{host.name}.log").write_text("".join(lines))

    # -- tasks --------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """The device's events, by its own clock."""
        for event in Follower(self._device.operator, after_sequence=0).follow(lambda _: None):
            if event["event"] in EVENTS:
                at_ns = event["wall_time_ns"] - EPOCH_NS
                self._heard.append((at_ns, DEVICE, event["event"], facts_of(event)))
            elif event["event"] == "events_missed":
                self._problems.append("events of the device were missed: event-log is short")

    def _play(self) -> None:
        """The whole scenario."""
        self._fill()
        scenario, world = self._scenario, self._world
        zero_ns = self._zero_ns = world.now_ns
        for host in self._hosts.values():
            if host.spec.from_start:
                self._happened(host.name, "host_started")
        steps = list(scenario.timeline)
        next_sample_ns = 0
        while next_sample_ns < scenario.duration_ns or steps:
            due_ns = min(next_sample_ns, steps[0].at_ns if steps else scenario.duration_ns)
            world.sleep(zero_ns + due_ns - world.now_ns)
            while steps and steps[0].at_ns <= due_ns:
                self._watcher.said(self._elapsed_ns(), self._actor.do(steps.pop(0)))
            if next_sample_ns <= due_ns and next_sample_ns < scenario.duration_ns:
                self._sample()
                next_sample_ns += scenario.sample_ns
        world.sleep(zero_ns + scenario.duration_ns - world.now_ns)
        self._sample()
        self._end()

    def _fill(self) -> None:
        """Start the hosts that are there from the start, until each has stored all its pages once."""
        first = [host for host in self._hosts.values() if host.spec.from_start]
        for host in first:
            host.start()
        while not all(host.stored for host in first):
            self._watcher.filling(sum(host.stored for host in first), len(first))
            if self._world.now_ns > FILL_DEADLINE_NS:
                raise NotSimulated("not every host has stored its pages within an hour of emulated time")
            self._world.sleep(_POLL_NS)

    def _end(self) -> None:
        """Everybody verifies and leaves; then the device is looked at once more."""
        world = self._world
        self._watcher.said(self._elapsed_ns(), "the end: every host verifies all its pages")
        for host in self._hosts.values():
            if host.running:
                host.ask_to_end()
        until_ns = world.now_ns + END_DEADLINE_NS
        while running := [host for host in self._hosts.values() if host.running]:
            if world.now_ns > until_ns:
                for host in running:
                    self._problems.append(f"{host.name} did not end within 600 s, and was killed")
                    host.kill()
            world.sleep(_POLL_NS)
        self._device.audit()
        self._measured.take(self._elapsed_ns(), DEVICE, self._device.families())

    # -- what is seen -------------------------------------------------------------------------------

    def _elapsed_ns(self) -> int:
        assert self._zero_ns is not None
        return self._world.now_ns - self._zero_ns

    def _happened(self, who: str, name: str, **facts: str) -> None:
        self._heard.append((self._world.now_ns, who, name, facts))

    def _sample(self) -> None:
        if self._samples % self._audit_every == 0:
            self._device.audit()
        self._samples += 1
        self._measured.take(self._elapsed_ns(), DEVICE, self._device.families())
        for host in self._hosts.values():
            if host.running:
                self._take_host(host.name)
        self._watcher.sampled(self._elapsed_ns(), self._measured)

    def _take_host(self, name: str) -> None:
        if self._zero_ns is not None:
            self._measured.take(self._elapsed_ns(), name, self._hosts[name].families())

"""One host of an emulated world: the whole agent, its main loop a task."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cramagent.attaching import RunFailed, attach
from cramagent.link import NodeLink
from cramagent.log import AgentLog
from cramagent.machine import Machine
from cramagent.messages import Pause, Stop
from cramagent.metric_families import families
from cramagent.node_client import NodeClient
from cramagent.parts import pace, plan_of, policy_settings, region, synthetic
from cramagent.patterns import parse_pattern
from cramagent.picture import Picture
from cramagent.policy.effects import Tier
from cramagent.report import exit_code
from cramagent.runner import Runner
from cramagent.sources import SourceError, parse_source
from cramlab.simulated.clock import EmulatedClock
from cramlab.simulated.tiers import TimedTier
from cramlab.simulated.waiting import EmulatedInbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from cramagent.farewell import Ending
    from cramagent.messages import Message
    from cramagent.pace import Pace
    from cramlab.scenario.model import HostSpec
    from cramlab.simulated.clock import CpuCosts
    from cramlab.simulated.device import SimulatedDevice
    from cramlab.simulated.wire import EmulatedChannel
    from cramlab.simulated.world import World

STOPPED: Final = "stopped"
"""Why a host ends that was asked to."""
_TURNS: Final = 20_000
"""Turns of the daemons that a whole run is given, where nothing else wakes them."""
_LONGEST_TURN_NS: Final = 200_000_000
_TO_CATCH_UP: Final = 4
"""Batches of accesses that a turn makes up for: half of what the runner allows."""


class SimulatedHost:
    """Started and ended by the timeline, perhaps more than once.

    Args:
        spec: what the scenario says.
        device: what it attaches to.
        world: where it lives.
        costs: what its CPU takes.
        duration_ns: of the scenario: a long one is played with longer turns of the daemons.
        note: told what happened to it: name of an event, and facts.
    """

    def __init__(
        self,
        spec: HostSpec,
        device: SimulatedDevice,
        world: World,
        *,
        costs: CpuCosts,
        duration_ns: int,
        note: Callable[[str, dict[str, str]], None],
    ) -> None:
        self.spec: Final = spec
        self.said: list[tuple[int, str]] = []
        """(time since the world began, what its log would say), of all its lives."""
        self.problems: list[str] = []
        self._device = device
        self._world = world
        self._costs = costs
        self._pace = _pace_of(spec, duration_ns)
        self._note = note
        self._lives = 0
        self._life: ExitStack | None = None
        self._clock: EmulatedClock | None = None
        self._channel: EmulatedChannel | None = None
        self._inbox: EmulatedInbox[Message] = EmulatedInbox(world)
        self._machine: Machine | None = None

    @property
    def name(self) -> str:
        """As the device knows it."""
        return self.spec.name

    # -- its life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: attach, store all pages, access them."""
        if self.running:
            self.problems.append(f"{self.name} was to start while its life before had not ended")
            return
        self._lives += 1
        self._machine = self._channel = None
        self._life = ExitStack()
        self._clock = EmulatedClock(self._world, self._costs)
        self._inbox = EmulatedInbox(self._world)
        self._clock.start(self.name, self._live)

    def ask_to_end(self) -> None:
        """It verifies all its pages and detaches."""
        self._inbox.put(Stop(STOPPED))

    def pause(self, *, stand_still: bool) -> None:
        """Its programs stand still, or go on."""
        self._inbox.put(Pause(stand_still=stand_still))

    def kill(self) -> None:
        """Gone without a word, as soon as the task that calls waits."""
        self._world.at(self._world.now_ns, self._die)

    def _die(self) -> None:
        if self._clock is None or not self.running:
            return
        if self._channel is not None:
            self._channel.close()
        self._clock.kill()
        self.close()

    @property
    def running(self) -> bool:
        """It was started and has not ended."""
        return self._life is not None

    @property
    def stored(self) -> bool:
        """It has stored all its pages once, or never will."""
        return not self.running or (self._machine is not None and self._machine.tally.scans > 0)

    def families(self) -> Iterator[Metric]:
        """What its `/metrics` would say now; nothing before it is attached."""
        if self._machine is not None:
            yield from families(Picture.take(self._machine))

    # -- inside -------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            machine = self._build()
            attach(machine, self.spec.options)
            self._machine = machine
            runner = Runner(
                machine,
                self._inbox,
                self._pace,
                log=AgentLog(lambda text: self.said.append((self._world.now_ns, text))),
                publish=_nobody_scrapes,
                note=lambda _wall_time_ns, event, _node: self._note(event, {}),
            )
            ending = runner.run()
        except (RunFailed, SourceError, OSError) as failed:
            self.problems.append(f"{self.name}: {failed}")
            self._note("host_ended", {"reason": "failed"})
        else:
            self._judge(machine, ending)
        self.close()

    def _build(self) -> Machine:
        options, life, clock = self.spec.options, self._life, self._clock
        assert life is not None
        assert clock is not None
        source = parse_source(options["source"], max_pages=options["max_pages"], synthetic=synthetic(options))
        life.callback(source.close)
        self._channel = self._device.channel(
            self.name, zlib.crc32(f"{options['seed']}/{self._lives}".encode())
        )
        client = NodeClient(
            "the emulated device", options["device_timeout"], "calls", channel=self._channel, clock=clock
        )
        link = NodeLink(client, region(self.name, options, source), self._inbox, clock)
        pattern = parse_pattern(options["pattern"], options["seed"])
        plan = plan_of(options, policy_settings(options, source), pattern)
        machine = Machine.build(plan, source, [link], clock)
        life.callback(machine.close)
        # The parts share this table: all of them meet the timed ones.
        costs, tiers = self._costs, machine.tiers
        tiers[Tier.ZSWAP] = TimedTier(
            tiers[Tier.ZSWAP], self._world, store_ns=costs.zswap_store_ns, load_ns=costs.zswap_load_ns
        )
        tiers[Tier.SWAPFILE] = TimedTier(
            tiers[Tier.SWAPFILE],
            self._world,
            store_ns=costs.swapfile_store_ns,
            load_ns=costs.swapfile_load_ns,
        )
        return machine

    def _judge(self, machine: Machine, ending: Ending) -> None:
        """Tell how it ended, and what was wrong beside what anybody expects."""
        machine.host.check()
        if exit_code(machine, ending):
            what = ending.error or (
                f"{machine.tally.mismatched} pages mismatched, {ending.verified.unread} could not be read"
            )
            self.problems.append(f"{self.name} ended by {ending.reason}: {what}")
        if ending.reason == STOPPED:
            self._note("host_stopped", {})
        else:
            self._note("host_ended", {"reason": ending.reason})

    def close(self) -> None:
        """This life is over: give back what it held."""
        if self._life is not None:
            self._life.close()
        self._life = None


def _pace_of(spec: HostSpec, duration_ns: int) -> Pace:
    """As the agent's, but a long run has longer turns, as far as the rate of accesses allows."""
    asked = pace(spec.options)
    turn_ns = max(asked.background_ns, min(duration_ns // _TURNS, _LONGEST_TURN_NS))
    if asked.rate:
        turn_ns = max(
            asked.background_ns, min(turn_ns, _TO_CATCH_UP * asked.batch_pages * 10**9 // asked.rate)
        )
    return replace(asked, background_ns=turn_ns)


def _nobody_scrapes(_machine: Machine) -> None:
    """Samples are taken from the machine itself."""

"""The demo from beginning to end: phases reached by what the processes count, never by waiting."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from cramlab.demo import story
from cramlab.demo.needs import Look, Phase, PhaseNotReached
from cramlab.demo.readings import DeviceReading, Reading, read_device

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramlab.demo.stage import Stage

_POLL_S: Final = 0.2


class PromiseBroken(Exception):
    """Something happened that must not happen in any phase."""


class View(Protocol):
    """Who shows the demo to somebody."""

    def phase_begun(self, phase: Phase) -> None:
        """From now on, looks are of this phase."""
        ...

    def seen(self, reading: Reading, looks: list[Look]) -> None:
        """A new reading, and how the phase's needs stand."""
        ...

    def phase_reached(self, phase: Phase, seconds: float) -> None:
        """All its needs are met."""
        ...


@dataclass(slots=True)
class Outcome:
    """What came of it, as far as it came."""

    phases: dict[str, float] = field(default_factory=dict)
    """Phases that were reached, and the seconds that each took."""
    steady: Reading | None = None
    """The last reading of steady state."""
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The agents' own reports, by host."""
    exit_codes: dict[str, int | None] = field(default_factory=dict)
    """The agents' exit codes."""
    final: DeviceReading | None = None
    """The device once everybody had left."""
    seconds: float = 0.0


class Scenario:
    """Drives a stage through the story; `outcome` fills up on the way, and stays if it fails."""

    def __init__(
        self,
        stage: Stage,
        view: View,
        outcome: Outcome,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.outcome = outcome
        self._stage = stage
        self._view = view
        self._clock = clock
        self._sleep = sleep

    def run(self) -> None:
        """All phases.

        Raises:
            PhaseNotReached: a phase's deadline passed.
            PromiseBroken: wrong bytes, lost pages, or a budget that does not hold.
            ProcessError: a process ended that should run, or did not end when told.
            OperatorError: the device refused or does not answer.
        """
        operator = self._stage.operator
        self._reach(story.FILL)
        self.outcome.steady = self._reach(story.STEADY)
        self._reach(story.EXHAUSTED, act=self._squeeze)
        operator.inject(story.total_loss())
        self._reach(story.WRITEBACK)
        operator.clear()
        self._reach(story.RECOVERED)
        self._verify()
        self._reach(story.DRAINED, read=self._read_device_alone)
        self._stage.stop_programs()

    def _reach(
        self,
        phase: Phase,
        *,
        read: Callable[[], Reading] | None = None,
        act: Callable[[Reading], None] | None = None,
    ) -> Reading:
        """Poll until all needs of the phase are met at one moment; that reading.

        Args:
            phase: which one.
            read: how to poll; by default, everybody.
            act: what to do about each reading that falls short.
        """
        read = read or self._stage.read
        self._view.phase_begun(phase)
        began = self._clock()
        begun = read()
        while True:
            now = read()
            looks = phase.looks(now, begun)
            self._view.seen(now, looks)
            if broken := story.broken_promises(now):
                raise PromiseBroken("; ".join(broken))
            if all(look.met for look in looks):
                self._note(phase, self._clock() - began)
                return now
            if self._clock() - began > phase.deadline_s:
                raise PhaseNotReached(phase, looks)
            if act is not None:
                act(now)
            self._sleep(_POLL_S)

    def _squeeze(self, now: Reading) -> None:
        """Take the media away; and give it back, to try anew, if the hosts were told before it mattered.

        Between the reading and the fault a host may write a batch: then nothing at all is left free,
        every host hears of that before its next write, and nobody is ever refused.
        """
        if (fault := story.sudden_loss(now)) is not None:
            self._stage.operator.inject(fault)
        elif story.loss_was_noticed(now):
            self._stage.operator.clear()

    def _verify(self) -> None:
        self._view.phase_begun(story.VERIFY)
        began = self._clock()
        try:
            self.outcome.reports = self._stage.verify(story.VERIFY.deadline_s)
        finally:
            self.outcome.exit_codes = {host: agent.returncode for host, agent in self._stage.agents.items()}
        self._note(story.VERIFY, self._clock() - began)

    def _read_device_alone(self) -> Reading:
        self.outcome.final = read_device(self._stage.operator.status())
        return Reading(self.outcome.final, {})

    def _note(self, phase: Phase, seconds: float) -> None:
        self.outcome.phases[phase.key] = seconds
        self._view.phase_reached(phase, seconds)

"""A soak, done: everything is started, the plan is played, everybody verifies, nothing is left behind."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cramctl.operator import Operator, OperatorError
from cramlab.processes import DeviceProcess, ProcessError
from cramlab.scrape import Samples, scrape
from cramlab.soak.growth import Growth, Seen, growth_of
from cramlab.soak.host import SoakHost
from cramlab.soak.plan import EndAgent, EndDevice
from cramlab.usage import read_usage

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.soak.plan import Action, Plan
    from cramlab.soak.view import View

PHYSICAL: Final = "16MiB"
DEVICE: Final = "device"
DEVICE_OPTIONS: Final = ("--save-every", "3s")
START_DEADLINE_S: Final = 120.0
"""How long all hosts may take until they serve: in the beginning, and at the end of the trouble."""
END_DEADLINE_S: Final = 180.0
"""How long all hosts may take to verify and leave."""
RELEASE_DEADLINE_S: Final = 30.0
"""How long the device may take, when nobody is attached any more, to have all its media back."""
_POLL_S: Final = 0.1
_LOOK_EVERY_S: Final = 0.5
_TRY_AGAIN_S: Final = 0.5
_SPOILERS: Final = ("poison", "bit-flip")


@dataclass(slots=True)
class Outcome:
    """What a soak came to."""

    plan: Plan
    seed: int
    hosts: dict[str, SoakHost] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the final verification, by host."""
    done: dict[str, int] = field(default_factory=dict)
    """Steps that were done, by what they do."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Steps that met nobody: a host that was away, or had no page to spoil."""
    spoiled: set[str] = field(default_factory=set)
    """Hosts whose pages were spoiled on purpose."""
    kept: int = 0
    """Times that the device came back as the generation that it was,"""
    renewed: int = 0
    """and as a new one."""
    growth: list[Growth] = field(default_factory=list)
    media_used_bytes: int | None = None
    """When everybody had left; None: it never came to that."""
    identity_checks: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    """What was wrong, each in one line; none: the soak passed."""


class Soak:
    """One run.

    Args:
        plan: what is done to whom.
        seed: of the hosts' workloads.
        folder: for logs, reports, swap files and the device's state.
        view: who is shown it.
    """

    def __init__(self, plan: Plan, seed: int, folder: Path, view: View) -> None:
        self.outcome = Outcome(plan, seed)
        self._plan = plan
        self._folder = folder
        self._view = view
        state = ("--state", str(folder / "state"))
        self._device = DeviceProcess(folder, physical=PHYSICAL, args=(*DEVICE_OPTIONS, *state))
        self._operator: Operator | None = None
        self._began_s = 0.0
        self._next_look_s = 0.0
        self._due: dict[str, float] = {}
        """When hosts that are away come back."""
        self._looks: dict[str, list[Seen]] = {DEVICE: [], **{name: [] for name in plan.settled}}

    def run(self) -> Outcome:
        """All of it. All processes have ended when this returns or raises.

        Raises:
            ProcessError: a process did not start, ended by itself, or did not end.
            OperatorError: the device does not answer its operator.
            KeyboardInterrupt: Ctrl-C.
        """
        began = time.monotonic()
        try:
            with ExitStack() as stack:
                self._start(stack)
                self._play()
                self._verify()
        finally:
            self.outcome.seconds = time.monotonic() - began
        return self.outcome

    # -- the beginning ----------------------------------------------------------------------------

    def _start(self, stack: ExitStack) -> None:
        stack.enter_context(self._device)
        stack.callback(self._close_operator)
        for number, name in enumerate(self._plan.hosts, 1):
            host = SoakHost(self._folder / name, number, name, self._device.address, self.outcome.seed)
            self.outcome.hosts[name] = host
            stack.callback(host.kill)
            host.start()
        self._until_all_serve("starting")
        self._began_s = time.monotonic()

    # -- the trouble ------------------------------------------------------------------------------

    def _play(self) -> None:
        """Steps when they are due, hosts back when they are, looks in between."""
        plan = self._plan
        steps = list(plan.steps)
        while self._elapsed() < plan.calm_at_s:
            while steps and steps[0].at_s <= self._elapsed():
                self._do(steps.pop(0).action)
            self._tend()
            time.sleep(_POLL_S)
        self._say(f"calm: {self._the_operator.clear().cleared} faults cleared, everybody comes back")
        self._due = dict.fromkeys(self._due, 0.0)
        self._until_all_serve("calm")
        while self._elapsed() < plan.seconds:
            self._tend()
            time.sleep(_POLL_S)
        self.outcome.growth = [
            growth for process, looks in self._looks.items() if (growth := growth_of(process, looks))
        ]

    def _do(self, action: Action) -> None:
        if isinstance(action, EndAgent):
            name, done = "kill" if action.killed else "stop", self._end_agent(action)
        elif isinstance(action, EndDevice):
            name, done = ("kill" if action.killed else "stop") + " the device", self._end_device(action)
        else:
            name, done = action.name, True
            try:
                self._the_operator.inject(action.message())
            except OperatorError as refused:
                # A host that is away, or holds nothing, has no page to spoil; nothing else may be refused.
                if action.name not in _SPOILERS:
                    self._wrong(f"{action}: {refused}")
                done = False
            if done and action.spoils is not None:
                self.outcome.spoiled.add(action.spoils)
        count = self.outcome.done if done else self.outcome.skipped
        count[name] = count.get(name, 0) + 1
        self._say(f"{action}" if done else f"{action}: skipped")

    def _end_agent(self, action: EndAgent) -> bool:
        host = self.outcome.hosts[action.host]
        if not host.serves or host.ending:
            return False
        if action.killed:
            host.kill()
        else:
            host.ask_to_end()
        self._due[host.name] = self._elapsed() + action.away_s
        return True

    def _end_device(self, action: EndDevice) -> bool:
        before = self._the_operator.status().telemetry.generation
        self._close_operator()
        if action.killed:
            self._device.kill()
        elif (code := self._device.terminate()) != 0:
            self._wrong(f"the device ended with {code} after SIGTERM{self._device.log_tail()}")
        self._device.start()
        self._device.wait_ready()
        kept = self._the_operator.status().telemetry.generation == before
        self.outcome.kept += kept
        self.outcome.renewed += not kept
        if not kept and not action.killed:
            self._wrong("the device was asked to end, had --state, and came back as a new generation")
        return True

    # -- all the time -----------------------------------------------------------------------------

    def _tend(self) -> None:
        """Take down who ended, bring back who is due, look how much everybody takes."""
        if not self._device.running:
            raise ProcessError(
                f"the device ended by itself with {self._device.returncode}{self._device.log_tail()}"
            )
        for host in self.outcome.hosts.values():
            if host.known and not host.running:
                self._take_end(host)
            if not host.known and self._due.get(host.name, 0.0) <= self._elapsed():
                self._due.pop(host.name, None)
                host.start()
        if time.monotonic() >= self._next_look_s:
            self._next_look_s = time.monotonic() + _LOOK_EVERY_S
            self._look()

    def _take_end(self, host: SoakHost) -> None:
        tail = host.log_tail()
        asked = host.ending
        report = host.take_end()
        if report is None:
            self._due.setdefault(host.name, self._elapsed() + _TRY_AGAIN_S)
        elif not asked:
            error = report["error"] or f"{report['pages_mismatched']} pages wrong"
            self._wrong(f"{host.name} ended by itself: {report['exit_reason']}, {error}{tail}")

    def _look(self) -> None:
        if self._began_s and self._elapsed() >= self._plan.settled_at_s:
            pids = {DEVICE: self._device.pid}
            pids |= {name: self.outcome.hosts[name].pid for name in self._plan.settled}
            for process, pid in pids.items():
                self._looks[process].append(Seen(self._elapsed(), read_usage(pid)))
        serving = sum(host.serves for host in self.outcome.hosts.values())
        elapsed = self._elapsed() if self._began_s else 0.0
        self._view.looked(elapsed, serving, self._the_operator.status(), len(self.outcome.problems))

    def _until_all_serve(self, why: str) -> None:
        until = time.monotonic() + START_DEADLINE_S
        while waiting := [
            host.name for host in self.outcome.hosts.values() if not host.serves or host.ending
        ]:
            if time.monotonic() > until:
                raise ProcessError(f"{why}: {', '.join(waiting)} did not serve within {START_DEADLINE_S:g} s")
            self._tend()
            time.sleep(_POLL_S)

    # -- the end ----------------------------------------------------------------------------------

    def _verify(self) -> None:
        """Everybody compares all pages and leaves; then no byte of media may be held any more."""
        self._say("the end: every host verifies all its pages and leaves")
        for host in self.outcome.hosts.values():
            host.ask_to_end()
        until = time.monotonic() + END_DEADLINE_S
        while waiting := [host for host in self.outcome.hosts.values() if host.running]:
            if time.monotonic() > until:
                names = ", ".join(host.name for host in waiting)
                raise ProcessError(f"{names} did not verify within {END_DEADLINE_S:g} s")
            time.sleep(_POLL_S)
        for host in self.outcome.hosts.values():
            if (report := host.take_end()) is not None:
                self.outcome.reports[host.name] = report
        until = time.monotonic() + RELEASE_DEADLINE_S
        while (status := self._the_operator.status()).regions or status.telemetry.media_used_bytes:
            if time.monotonic() > until:
                break
            time.sleep(_POLL_S)
        self.outcome.media_used_bytes = status.telemetry.media_used_bytes
        self._read_device(scrape(self._device.metrics_address))
        self._close_operator()
        if (code := self._device.terminate()) != 0:
            self._wrong(f"the device ended with {code} after SIGTERM{self._device.log_tail()}")

    def _read_device(self, samples: Samples) -> None:
        """What the device has counted since it was started last."""
        self.outcome.identity_checks = round(samples.total("cxldev_capacity_identity_checks_total"))
        for code in ("INTERNAL", "UNKNOWN"):
            with suppress(KeyError):
                failed = round(samples.total("cxldev_requests_total", {"code": code}))
                if failed:
                    self._wrong(f"{failed} calls were answered {code}{self._device.log_tail()}")

    # -- inside -----------------------------------------------------------------------------------

    def _elapsed(self) -> float:
        """S since all hosts served; a large negative number before."""
        return time.monotonic() - self._began_s if self._began_s else -1e9

    @property
    def _the_operator(self) -> Operator:
        if self._operator is None:
            self._operator = Operator(self._device.operator_address)
        return self._operator

    def _close_operator(self) -> None:
        """The next question opens a new connection: gRPC waits before it tries a lost one again."""
        if self._operator is not None:
            self._operator.close()
            self._operator = None

    def _say(self, text: str) -> None:
        self._view.said(self._elapsed(), text)

    def _wrong(self, text: str) -> None:
        self.outcome.problems.append(text)
        self._view.said(self._elapsed(), f"WRONG: {text}")

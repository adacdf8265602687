"""The timeline's steps, done: the same for real processes and for emulated ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cramctl.operator import OperatorError
from cramlab.scenario.model import (
    AddCapacity,
    Clear,
    Inject,
    KillHost,
    PauseHost,
    ReleaseCapacity,
    ResumeHost,
    StartHost,
    StopHost,
)
from cramwire.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cramctl.operator import Operator
    from cramlab.scenario.model import Action, Scenario, Step


class Host(Protocol):
    """A host, as the timeline orders it about."""

    def start(self) -> None:
        """Begin a life, without waiting until it is attached."""
        ...

    def ask_to_end(self) -> None:
        """Verify all pages and detach."""
        ...

    def pause(self, *, stand_still: bool) -> None:
        """Let its programs stand still, or go on."""
        ...

    def kill(self) -> None:
        """Gone without a word."""
        ...


class Actor:
    """Does one step after the other.

    Args:
        scenario: whose steps.
        operator: the device's operator's side.
        hosts: all of the scenario's, by name.
        happened: told of a host's name and the event that a step made of it.
    """

    def __init__(
        self,
        scenario: Scenario,
        operator: Operator,
        hosts: Mapping[str, Host],
        happened: Callable[[str, str], None],
    ) -> None:
        self.problems: list[str] = []
        """Steps that were refused, each in one line."""
        self._scenario = scenario
        self._operator = operator
        self._hosts = hosts
        self._happened = happened
        self._armed: dict[str, list[str]] = {}
        """Ids of the faults that were armed under each label."""

    def do(self, step: Step) -> str:
        """Do it; what was done, for people."""
        try:
            return self._act(step.action)
        except OperatorError as refused:
            self.problems.append(f"{self._scenario.path.name}:{step.line}: {refused}")
            return f"{type(step.action).__name__.lower()}: {refused}"

    def _act(self, action: Action) -> str:
        match action:
            case Inject(label, kind, request):
                answer = self._operator.inject(request.fault)
                if answer.fault_id:
                    self._armed.setdefault(label, []).append(answer.fault_id)
                return f"injected {kind}"
            case Clear(label):
                return f"cleared {label or 'all faults'}: {self._clear(label)}"
            case AddCapacity(name, length_bytes):
                self._operator.add_capacity(name, length_bytes)
                return f"added {format_bytes(length_bytes)} to {name}"
            case ReleaseCapacity(name, length_bytes, force_after_ns):
                self._operator.release_capacity(name, length_bytes, force_after_ns)
                return f"asked {name} for {format_bytes(length_bytes)}"
            case StartHost(name):
                self._hosts[name].start()
                self._happened(name, "host_started")
                return f"started {name}"
            case StopHost(name):
                self._hosts[name].ask_to_end()
                return f"asked {name} to end"
            case KillHost(name):
                self._hosts[name].kill()
                self._happened(name, "host_killed")
                return f"killed {name}"
            case PauseHost(name) | ResumeHost(name):
                stand_still = isinstance(action, PauseHost)
                self._hosts[name].pause(stand_still=stand_still)
                self._happened(name, "host_paused" if stand_still else "host_resumed")
                return f"{'paused' if stand_still else 'resumed'} {name}"

    def _clear(self, label: str | None) -> int:
        """Disarm what was armed under the label; how many. Some may have run out by themselves."""
        if label is None:
            self._armed.clear()
            return self._operator.clear().cleared
        armed = {fault.fault_id for fault in self._operator.faults()}
        ids = [fault_id for fault_id in self._armed.pop(label, []) if fault_id in armed]
        return sum(self._operator.clear(fault_id).cleared for fault_id in ids)

"""`[[timeline]]` of a scenario file, and the beginnings and ends of hosts: steps in the order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramlab.scenario.model import (
    AddCapacity,
    Clear,
    Inject,
    KillHost,
    PauseHost,
    ReleaseCapacity,
    ResumeHost,
    StartHost,
    Step,
    StopHost,
)
from cramlab.scenario.read_fault import read_fault
from cramlab.scenario.table import did_you_mean
from cramwire.units import parse_bytes
from cxldev.config import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cramlab.scenario.model import Action, HostAction, HostSpec
    from cramlab.scenario.table import Table
    from cxldev.config import DeviceConfig

_VERBS: Final = ("inject", "clear", "add", "release", "start", "stop", "kill", "pause", "resume")
_OF_CAPACITY: Final = ("size", "force-after")
_ALL: Final = "all"
_OF_HOSTS: Final[Mapping[str, type[HostAction]]] = {
    "start": StartHost,
    "stop": StopHost,
    "kill": KillHost,
    "pause": PauseHost,
    "resume": ResumeHost,
}


class TimelineReader:
    """Reads the steps of one scenario, one after the other."""

    def __init__(self, hosts: Sequence[HostSpec], device: DeviceConfig, seed: int, duration_ns: int) -> None:
        self._names = [host.name for host in hosts]
        self._device = device
        self._groups: dict[str, list[str]] = {}
        for host in hosts:
            self._groups.setdefault(host.group, []).append(host.name)
            self._groups.setdefault(host.name, [host.name])
        self._seed = seed
        self._duration_ns = duration_ns
        self._labels: dict[str, int] = {}
        """Of faults: when each is armed."""

    def read(self, table: Table) -> Iterator[Step]:
        """The steps of one entry: several if it names a group of hosts.

        Raises:
            ScenarioError: it does not say what to do, or to whom.
        """
        at_ns = table.duration("at")
        if at_ns > self._duration_ns:
            table.fail("is after the scenario's end", "at")
        verbs = [verb for verb in _VERBS if verb in table]
        if len(verbs) != 1:
            table.fail(f"an entry of the timeline does one thing: {', '.join(_VERBS)}")
        for action in self._actions(table, verbs[0], at_ns):
            yield Step(at_ns, action, table.line())
        table.finish((*_VERBS, *_OF_CAPACITY))

    def _actions(self, table: Table, verb: str, at_ns: int) -> Iterator[Action]:
        name = table.text(verb)
        if verb == "inject":
            label = table.text("as", name)
            self._labels.setdefault(label, at_ns)
            drawn_from = f"{self._seed}/{label}/{at_ns}"
            request = read_fault(table, name, drawn_from, hosts=self._names, device=self._device)
            yield Inject(label, name.replace("-", "_"), request)
        elif verb == "clear":
            if name != _ALL and self._labels.get(name, at_ns + 1) > at_ns:
                known = [_ALL, *(label for label, armed_ns in self._labels.items() if armed_ns <= at_ns)]
                table.fail(f"no fault {name!r} is armed by then{did_you_mean(name, known)}", verb)
            yield Clear(None if name == _ALL else name)
        else:
            if name not in self._groups:
                table.fail(f"there is no host {name!r}{did_you_mean(name, self._groups)}", verb)
            for host in self._groups[name]:
                yield self._of_host(table, verb, host)

    def _of_host(self, table: Table, verb: str, host: str) -> Action:
        """What happens to one host."""
        if verb in _OF_HOSTS:
            return _OF_HOSTS[verb](host)
        length = table.parsed("size", parse_bytes) if "size" in table else table.fail(f"{verb} needs a size")
        if not length or length % PAGE_BYTES:
            table.fail(f"{length} bytes are not whole pages of {PAGE_BYTES}", "size")
        if verb == "add":
            return AddCapacity(host, length)
        return ReleaseCapacity(host, length, table.duration("force-after", None))


def check_order(steps: Sequence[Step], hosts: Sequence[HostSpec]) -> tuple[Step, str] | None:
    """The first step that cannot be done, as one that starts what runs, and why; None if all is well."""
    running = {host.name for host in hosts if host.from_start}
    paused: set[str] = set()
    for step in steps:
        action = step.action
        if isinstance(action, Inject | Clear):
            continue
        host = action.host
        if (host in running) is isinstance(action, StartHost):
            return step, f"host {host!r} {'runs already' if host in running else 'does not run then'}"
        match action:
            case StartHost():
                running.add(host)
            case StopHost() | KillHost():
                running.remove(host)
                paused.discard(host)
            case PauseHost() if host in paused:
                return step, f"host {host!r} is paused already"
            case PauseHost():
                paused.add(host)
            case ResumeHost() if host not in paused:
                return step, f"host {host!r} is not paused then"
            case ResumeHost():
                paused.remove(host)
    return None

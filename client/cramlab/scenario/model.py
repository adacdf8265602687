"""What a scenario says, once it was read and checked: a device, hosts, a timeline, expectations.

Times are ns since *time zero*: the moment when every host that is there from the start has stored all
its pages once. So a slow machine fills later, and the timeline finds the same state. In a simulated run
the clock is the emulated one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cramagent.parts import Options
    from cramlab.scenario.expectation import Expectation
    from cramwire.v1 import operator_pb2
    from cxldevd.settings import Settings

DEVICE: Final = "device"
"""Who the device is in measurements; no host may have this name."""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """The one device of a scenario."""

    settings: Settings
    """All settings of `cxldevd`, the defaults included; `settings.device` is the core's configuration."""
    given: Mapping[str, str]
    """Those that the file names, as flags of `cxldevd` without their dashes, and their values as text."""


@dataclass(frozen=True, slots=True)
class WireTimes:
    """How long messages travel in emulated time, one way, ns: an order of magnitude, as devices promise it.

    A live run has the machine's own wire.
    """

    data_ns: int = 500
    """Loads, stores and TRIMs."""
    control_ns: int = 20_000
    """Mailbox commands."""
    event_ns: int = 10_000
    """An interrupt, until the host's handler runs."""
    jitter_milli: int = 200
    """Each time is up to so much longer, per mille; drawn anew for each message."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host. A table of the file with `count = 3` makes three, NAME-1 to NAME-3."""

    name: str
    """What it attaches as."""
    group: str
    """The name of its table in the file."""
    options: Options
    """All options of `cram-agent run`, the defaults included. `source` and `seed` are among them: the seed
    is drawn from the scenario's and the host's name, unless the file gives one."""
    given: Mapping[str, str | bool]
    """Those that the file names, as flags without their dashes; a switch is true. With `source`, `seed`."""
    program: str | None
    """A program of `cramlab.programs` whose memory is the source (`source = "program:NAME"`), or none."""
    from_start: bool
    """Whether it is there before time zero. Else `StartHost` in the timeline starts it."""


@dataclass(frozen=True, slots=True)
class Inject:
    """Arm a fault."""

    label: str
    """By which the file clears it: `as`, or its kind as the file writes it."""
    kind: str
    """As events and metrics name it: `ratio_collapse`."""
    request: operator_pb2.InjectFaultRequest


@dataclass(frozen=True, slots=True)
class Clear:
    """Clear the faults armed under a label; all of the device if there is none."""

    label: str | None


@dataclass(frozen=True, slots=True)
class StartHost:
    """A host begins: attaches, stores its pages, accesses them. One that ran before begins anew."""

    host: str


@dataclass(frozen=True, slots=True)
class StopHost:
    """A host ends in order: verifies all its pages and detaches."""

    host: str


@dataclass(frozen=True, slots=True)
class KillHost:
    """A host is gone without a word. Its lease runs out some time later."""

    host: str


@dataclass(frozen=True, slots=True)
class PauseHost:
    """A host's programs stand still: no accesses, nothing new to store. Its daemons and its lease go on."""

    host: str


@dataclass(frozen=True, slots=True)
class ResumeHost:
    """They go on, at their rate; what they missed is not made up for."""

    host: str


@dataclass(frozen=True, slots=True)
class AddCapacity:
    """A host's region grows."""

    host: str
    length_bytes: int


@dataclass(frozen=True, slots=True)
class ReleaseCapacity:
    """A host is asked for the end of its region."""

    host: str
    length_bytes: int
    force_after_ns: int | None
    """When the device takes it; None: it waits for the host."""


HostAction: TypeAlias = StartHost | StopHost | KillHost | PauseHost | ResumeHost
Action: TypeAlias = Inject | Clear | AddCapacity | ReleaseCapacity | HostAction


@dataclass(frozen=True, slots=True)
class Step:
    """One action of the timeline. Steps of the same time are done in the file's order."""

    at_ns: int
    action: Action
    line: int
    """Where the file says so."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of it."""

    name: str
    """The file's name without `.toml`."""
    path: Path
    question: str
    """What a run answers, in one sentence."""
    seed: int
    duration_ns: int
    """From time zero until the hosts that still run are stopped (each verifies all its pages then)."""
    sample_ns: int
    """Between two samples of all metrics."""
    device: DeviceSpec
    hosts: tuple[HostSpec, ...]
    timeline: tuple[Step, ...] = field(default_factory=tuple)
    """By time."""
    expectations: tuple[Expectation, ...] = field(default_factory=tuple)
    wire: WireTimes = field(default_factory=WireTimes)

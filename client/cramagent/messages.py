"""What other threads tell the main loop, in the order in which it came. Times in ns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from cramwire.v1 import types_pb2


@dataclass(frozen=True, slots=True)
class Reading:
    """Telemetry, from an event, a renewal or a refusal."""

    session: str
    telemetry: types_pb2.Telemetry
    event_wall_ns: int = 0
    """When the device says that it happened, wall time; 0: not an event."""


@dataclass(frozen=True, slots=True)
class PoisonTold:
    """An event names poisoned pages of our region."""

    session: str
    dpas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EventsMissed:
    """Events that the device no longer had, or that were lost on the way: of those, a gap counts as one."""

    session: str
    count: int


@dataclass(frozen=True, slots=True)
class EventDropped:
    """An event that says nothing new: it came a second time, or late, behind others that came after it."""

    session: str
    late: bool


@dataclass(frozen=True, slots=True)
class SessionOver:
    """The device no longer knows our session; `reason` is the wire's."""

    session: str
    reason: str


@dataclass(frozen=True, slots=True)
class CreditsGranted:
    """The device answered a request for write credits."""

    session: str
    number: int
    """Of the request."""
    granted: int
    telemetry: types_pb2.Telemetry


@dataclass(frozen=True, slots=True)
class CreditsUnanswered:
    """It did not, or said no."""

    session: str
    number: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The device answered nothing, or refused a renewal and the session may still hold."""

    session: str


@dataclass(frozen=True, slots=True)
class ControlSilent:
    """The device did not answer a renewal, and does answer on its data path."""

    session: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The run is asked to end: `reason` as the report says it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """The host's programs stand still (no accesses, no new scan of the source) or go on. All else goes on."""

    stand_still: bool


NodeMessage: TypeAlias = (
    Reading
    | PoisonTold
    | EventsMissed
    | EventDropped
    | CreditsGranted
    | CreditsUnanswered
    | SessionOver
    | LinkDown
    | ControlSilent
)
"""About one node: the one whose session it names."""

Message: TypeAlias = NodeMessage | Stop | Pause

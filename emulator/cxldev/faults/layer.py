"""What a fault may change: the device's own interface, one method for each aspect.

The plain device is what the base class does. A fault overrides the aspects that it is about and
leaves the others alone, so layers lie on one another in any number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from cxldev.faults.hold import Hold
from cxldev.faults.scope import EVERYTHING, Command, Scope

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cxldev.config import DeviceConfig
    from cxldev.events import Event
    from cxldev.faults.loss import Loss
    from cxldev.faults.scope import Operation


class Aspect(Enum):
    """What of the device a fault is about. A command asks for each aspect once; so each fault draws once."""

    MEDIA = "media"
    """How much media hosts can have: asked for at any time, of no command."""
    STORE = "store"
    """What becomes of pages that are written."""
    DRAIN = "drain"
    """What becomes of staged pages on their way to the media."""
    HOLD = "hold"
    """What a command waits for."""
    DELAY = "delay"
    """What a command takes."""
    ANSWER = "answer"
    """Whether a command is taken up, and whether its answer arrives."""
    DELIVER = "deliver"
    """Whether and when a host is told of an event."""


class Delay(NamedTuple):
    """What a command takes: device time is reported, wall time is waited for."""

    device_ns: int
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Passage:
    """How an event goes to a host: so many times, each not before its hold is over."""

    times: int = 1
    hold: Hold | None = None
    behind: int = 0
    """So many later events go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFault(ABC):
    """A fault that stays armed until it is cleared, has fired often enough, or its time is over."""

    kind: ClassVar[str]
    """Its field in `cramwire.v1.Fault`."""
    aspect: ClassVar[Aspect]
    operations: ClassVar[frozenset[Operation]] = frozenset()
    """Commands that it can concern."""
    scope_fields: ClassVar[frozenset[str]]
    """Fields of `Scope` that mean something to it."""

    scope: Scope = EVERYTHING

    def check(self, config: DeviceConfig) -> None:
        """Whether this can be injected into a device of this kind.

        Raises:
            InvalidField: says which setting is wrong, and what it may be.
        """
        del config
        self.scope.check(self.kind, self.scope_fields, self.operations)

    @abstractmethod
    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""


class Layer:
    """The device as if this fault were not there, and how often the fault changed something."""

    def __init__(self, fault: HeldFault, fault_id: str, armed_ns: int) -> None:
        self.fault = fault
        self.fault_id = fault_id
        self.armed_ns = armed_ns
        self.fired = 0
        self.random = np.random.default_rng(fault.scope.seed)
        self._holds_until_ns: int | None = 0
        """When the last of its holds ends by itself; None: one never does."""

    # -- whom it concerns ---------------------------------------------------------------------------

    @property
    def ends_ns(self) -> int | None:
        """When its time is over, if it has one."""
        lasts = self.fault.scope.duration_ns
        return self.armed_ns + lasts if lasts else None

    @property
    def left(self) -> int | None:
        """How often it may fire yet, if that is bounded."""
        count = self.fault.scope.count
        return max(0, count - self.fired) if count else None

    def over(self, now_ns: int) -> bool:
        """Whether its time has passed, or it has fired as often as it may and holds nothing any more."""
        if self.ends_ns is not None and self.ends_ns <= now_ns:
            return True
        return self.left == 0 and self._holds_until_ns is not None and self._holds_until_ns <= now_ns

    def meets(self, command: Command) -> bool:
        """Whether it concerns this command. Draws, if it concerns a share of them only."""
        scope = self.fault.scope
        if self.left == 0 or command.operation not in self.fault.operations or not scope.covers(command):
            return False
        return scope.share_milli == 1000 or int(self.random.integers(1000)) < scope.share_milli

    def holding(self, until_ns: int | None) -> Hold:
        """A hold by this fault until then, or, None, until it is not armed any more."""
        if until_ns is None or self._holds_until_ns is None:
            self._holds_until_ns = None
        else:
            self._holds_until_ns = max(self._holds_until_ns, until_ns)
        return Hold(self.fault_id, until_ns)

    def advance(self, now_ns: int) -> int | None:
        """Let time pass for what changes by itself. When it changes or ends next, if it does."""
        del now_ns
        times = [self.ends_ns] if self.ends_ns is not None else []
        if self.left == 0 and self._holds_until_ns:
            times.append(self._holds_until_ns)
        return min(times, default=None)

    # -- Aspect.MEDIA -------------------------------------------------------------------------------

    def held_back_bytes(self, physical_bytes: int) -> int:
        """Media that hosts cannot have, bytes."""
        del physical_bytes
        return 0

    def turned_away(self, pages: int) -> None:
        """Pages found no room on the media: a layer that holds some back had a part in it."""

    def took_freed(self) -> None:
        """Media that came free went to faults at once: a layer that holds some back had a part in it."""

    # -- Aspect.STORE -------------------------------------------------------------------------------

    def sectors_for(
        self, command: Command, sectors: NDArray[np.int64], sector_bytes: int
    ) -> NDArray[np.int64]:
        """Sectors that pages being written take, one entry a page. They may be refused yet."""
        del command, sector_bytes
        return sectors

    def writable(self, command: Command) -> int:
        """Pages from the front of the command that the media takes."""
        return command.pages

    def stored(self, changed_pages: int) -> None:
        """So many pages were stored with other sectors than they would have without this layer."""

    def turned_back(self, pages: int) -> None:
        """Pages were refused because this layer lets nobody write them."""

    # -- Aspect.DRAIN -------------------------------------------------------------------------------

    def lost_in_drain(self, command: Command, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Staged pages that are lost on their way to the media, one entry a page."""
        del command
        return lost

    # -- Aspect.HOLD, DELAY, ANSWER, DELIVER ----------------------------------------------------------

    def hold(self, command: Command, from_ns: int) -> Hold | None:
        """What the command waits for. It would go on at `from_ns`."""
        del command, from_ns
        return None

    def delay(self, command: Command, delay: Delay) -> Delay:
        """What a command takes."""
        del command
        return delay

    def arrive(self, command: Command) -> Loss | None:
        """A command has arrived: None; or its answer is to be lost.

        Raises:
            CommandRefused: the device does not take it up.
            CommandLost: neither is it carried out, nor does an answer arrive.
        """
        del command
        return None

    def deliver(self, watching: Command, event: Event, now_ns: int) -> Passage:
        """How an event goes to a host that it concerns and that watches."""
        del watching, event, now_ns
        return Passage()

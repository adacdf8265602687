"""Event: what the device tells does not arrive, or late, or twice, or in another order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final

from cxldev import events
from cxldev.errors import InvalidField
from cxldev.faults.layer import Aspect, HeldFault, Layer, Passage
from cxldev.faults.scope import EVERYWHERE, Operation

if TYPE_CHECKING:
    from cxldev.config import DeviceConfig
    from cxldev.faults.scope import Command

EVENT_NAMES: Final[dict[type[events.EventKind], str]] = {
    events.WatermarkCrossed: "watermark_crossed",
    events.NoMoreWritesEntered: "no_more_writes_entered",
    events.NoMoreWritesLeft: "no_more_writes_left",
    events.PoisonFound: "poison_found",
    events.RegionAttached: "region_attached",
    events.RegionDetached: "region_detached",
    events.RegionResized: "region_resized",
    events.DeviceReset: "device_reset",
}
"""Kinds of event that a host can be told, by their names on the wire."""
_LONGEST_NS: Final = 3_600_000_000_000
"""One hour."""
_MOST_COPIES: Final = 100
_MOST_BEHIND: Final = 1000


class EventTrouble(Enum):
    """What happens to an event on its way to a host."""

    LOST = "lost"
    LATE = "late"
    DUPLICATED = "duplicated"
    REORDERED = "reordered"


@dataclass(frozen=True, slots=True)
class EventFault(HeldFault):
    """Events go wrong on their way to hosts. The device's log and the operator's stream stay as they are."""

    kind: ClassVar[str] = "event"
    aspect: ClassVar[Aspect] = Aspect.DELIVER
    operations: ClassVar[frozenset[Operation]] = frozenset({Operation.WATCH})
    scope_fields: ClassVar[frozenset[str]] = EVERYWHERE

    trouble: EventTrouble
    delay_ns: int = 0
    """LATE only: 1 ns .. one hour."""
    copies: int = 0
    """DUPLICATED only: so many more than the one, 1..100."""
    behind: int = 0
    """REORDERED only: so many later events of the host go first, 1..1000."""
    names: frozenset[str] = frozenset()
    """Only these kinds of event; empty: all."""

    def check(self, config: DeviceConfig) -> None:
        """Raise InvalidField if this cannot be injected."""
        HeldFault.check(self, config)
        for trouble, name, most in (
            (EventTrouble.LATE, "delay_ns", _LONGEST_NS),
            (EventTrouble.DUPLICATED, "copies", _MOST_COPIES),
            (EventTrouble.REORDERED, "behind", _MOST_BEHIND),
        ):
            value = getattr(self, name)
            if self.trouble is trouble and not 1 <= value <= most:
                raise InvalidField(f"event {name} of {value}: {trouble.value} events take 1..{most}")
            if self.trouble is not trouble and value:
                raise InvalidField(
                    f"event {name} goes with {trouble.value} events, not with {self.trouble.value}"
                )
        if strange := self.names - set(EVENT_NAMES.values()):
            raise InvalidField(
                f"there is no event {min(strange)[:80]!r} that a host is told; there are "
                f"{', '.join(EVENT_NAMES.values())}"
            )

    def layer(self, fault_id: str, armed_ns: int) -> Layer:
        """What this does while it is armed."""
        return _EventLayer(self, fault_id, armed_ns)


class _EventLayer(Layer):
    """Fired: events that went wrong, counted for each watching host."""

    def __init__(self, fault: EventFault, fault_id: str, armed_ns: int) -> None:
        super().__init__(fault, fault_id, armed_ns)
        self._fault = fault

    def deliver(self, watching: Command, event: events.Event, now_ns: int) -> Passage:
        fault = self._fault
        if fault.names and EVENT_NAMES.get(type(event.kind)) not in fault.names:
            return Passage()
        if not self.meets(watching):
            return Passage()
        self.fired += 1
        match fault.trouble:
            case EventTrouble.LOST:
                return Passage(times=0)
            case EventTrouble.LATE:
                return Passage(hold=self.holding(now_ns + fault.delay_ns))
            case EventTrouble.DUPLICATED:
                return Passage(times=1 + fault.copies)
            case EventTrouble.REORDERED:
                return Passage(hold=self.holding(None), behind=fault.behind)

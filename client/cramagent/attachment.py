"""One node of a machine and its device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cramagent.tally import NodeTally

if TYPE_CHECKING:
    from cramagent.link import NodeLink


@dataclass(slots=True)
class Attachment:
    """What the runner knows of it; the policy knows the rest, by its number."""

    number: int
    link: NodeLink
    tally: NodeTally = field(default_factory=NodeTally)
    logical_bytes: int = 0
    """Size of the region, as the policy knows it."""

    @property
    def facts(self) -> dict[str, Any]:
        """What goes with every log line about it."""
        return self.link.client.facts

    @property
    def device(self) -> str:
        """Where the device is."""
        return self.link.client.address

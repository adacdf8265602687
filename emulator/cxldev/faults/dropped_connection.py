"""Dropped connection: the host's connection is closed in the middle of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.errors import ConnectionDropped
from cxldev.faults.losing import LosingFault

if TYPE_CHECKING:
    from cxldev.errors import CommandLost


@dataclass(frozen=True, slots=True)
class DroppedConnectionFault(LosingFault):
    """Instead of an answer the host sees its connection end, and everything on it."""

    kind: ClassVar[str] = "dropped_connection"
    error: ClassVar[type[CommandLost]] = ConnectionDropped

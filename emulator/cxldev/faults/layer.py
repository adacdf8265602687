"""What a fault may change: the device's own interface, one method for each aspect.

The plain device is what the base class does. A fault overrides the aspects that it is about and
leaves the others alone, so layers lie on one another in any number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Operation(Enum):
    """The data commands."""

    WRITE = "write"
    READ = "read"
    TRIM = "trim"
    FLUSH = "flush"


@dataclass(frozen=True, slots=True)
class Command:
    """One data command, as a layer sees it."""

    operation: Operation
    host: str
    pages: int


@dataclass(frozen=True, slots=True)
class Delay:
    """What a command takes: device time is reported, wall time is waited for."""

    device_ns: int
    wall_ns: int


class Layer:
    """The device without any fault. Layers count in `fired` what they changed."""

    kind: ClassVar[str] = "none"

    def __init__(self) -> None:
        self.fired = 0

    def held_back_bytes(self, physical_bytes: int) -> int:
        """Media that hosts cannot have, bytes."""
        del physical_bytes
        return 0

    def sectors_for(self, sectors: NDArray[np.int64], sector_bytes: int) -> NDArray[np.int64]:
        """Sectors that pages being written take, one entry a page. They may be refused yet."""
        del sector_bytes
        return sectors

    def stored(self, sectors: NDArray[np.int64], sector_bytes: int) -> None:
        """Pages were stored that would take so many sectors without this layer: it counts what it changed."""

    def delay(self, command: Command, delay: Delay) -> Delay:
        """What a data command takes."""
        del command
        return delay

    def turned_away(self, pages: int) -> None:
        """Pages found no room on the media: a layer that holds some back had a part in it."""

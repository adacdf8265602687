"""Whom a fault concerns: which commands, of which host, at which addresses, and how many of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

import numpy as np

from cxldev.config import PAGE_BYTES
from cxldev.errors import InvalidField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LARGEST_U64: Final = 2**64 - 1
_TOLD_CHARACTERS: Final = 80


class Operation(Enum):
    """What a host can ask for, and what the device does by itself."""

    WRITE = "write"
    READ = "read"
    TRIM = "trim"
    FLUSH = "flush"
    IDENTIFY = "identify"
    ATTACH = "attach"
    RENEW = "renew"
    RESIZE = "resize"
    DETACH = "detach"
    TELEMETRY = "telemetry"
    CREDITS = "credits"
    """A request for write credits."""
    WATCH = "watch"
    """A stream of events: opening it, and each event on it."""
    DRAIN = "drain"
    """The device's own: staged pages go to the media."""


DATA: Final = frozenset({Operation.WRITE, Operation.READ, Operation.TRIM, Operation.FLUSH})
"""The data path."""
CONTROL: Final = frozenset(
    {
        Operation.IDENTIFY,
        Operation.ATTACH,
        Operation.RENEW,
        Operation.RESIZE,
        Operation.DETACH,
        Operation.TELEMETRY,
        Operation.CREDITS,
        Operation.WATCH,
    }
)
"""The control path."""
WITH_ADDRESSES: Final = frozenset({Operation.WRITE, Operation.READ, Operation.TRIM, Operation.DRAIN})


@dataclass(slots=True, eq=False)
class Command:
    """One command, as a fault sees it. Nobody changes it; one that is frozen takes 2 us to make."""

    operation: Operation
    host: str
    """Empty where no host is known yet."""
    pages: int = 0
    numbers: NDArray[np.int64] | None = None
    """Page numbers, one for each page, of a write, a read or a drain."""
    ranges: Sequence[tuple[int, int]] = ()
    """Of a TRIM: first page, and the one behind the last."""

    def within(self, dpas: tuple[int, int] | None) -> NDArray[np.bool_]:
        """Which of the numbered pages lie in a DPA range (start and length in bytes; None: all)."""
        numbers = self.numbers
        assert numbers is not None, self.operation
        if dpas is None:
            return np.ones(len(numbers), np.bool_)
        inside: NDArray[np.bool_] = (numbers >= dpas[0] // PAGE_BYTES) & (
            numbers < (dpas[0] + dpas[1]) // PAGE_BYTES
        )
        return inside

    def touches(self, dpas: tuple[int, int]) -> bool:
        """Whether any of its pages lies in a DPA range."""
        if self.numbers is not None:
            return bool(self.within(dpas).any())
        first, end = dpas[0] // PAGE_BYTES, (dpas[0] + dpas[1]) // PAGE_BYTES
        return any(start < end and stop > first for start, stop in self.ranges)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a fault is confined to. The default is no bound at all."""

    host: str = ""
    """Only commands of this host; empty: of all."""
    dpas: tuple[int, int] | None = None
    """Only commands that touch this range, start and length in bytes, multiples of 4096."""
    operations: frozenset[Operation] = frozenset()
    """Only these; empty: all that the fault can concern."""
    share_milli: int = 1000
    """So many of 1000 commands, drawn with the seed."""
    count: int = 0
    """Cleared after so many firings; 0: no bound."""
    duration_ns: int = 0
    """Cleared so long after it was armed; 0: no bound."""
    seed: int = 0

    def covers(self, command: Command) -> bool:
        """Whether a command is one of these, whatever the share."""
        if self.host and command.host != self.host:
            return False
        if self.operations and command.operation not in self.operations:
            return False
        return self.dpas is None or command.touches(self.dpas)

    def check(self, kind: str, takes: frozenset[str], operations: frozenset[Operation]) -> None:
        """Whether the scope says only what means something to a kind of fault, and says it right.

        Args:
            kind: of the fault, for the message.
            takes: names of the fields that mean something to it.
            operations: what it can concern.

        Raises:
            InvalidField: names the first field that is wrong.
        """
        for name in ("host", "dpas", "operations", "share_milli", "count", "duration_ns", "seed"):
            if name not in takes and getattr(self, name) != getattr(EVERYTHING, name):
                told = ", ".join(sorted(takes)) or "nothing"
                raise InvalidField(f"{kind} cannot be confined by {name}: it takes {told}")
        for name, least, most in (
            ("share_milli", 1, 1000),
            ("count", 0, _LARGEST_U64),
            ("duration_ns", 0, _LARGEST_U64),
            ("seed", 0, _LARGEST_U64),
        ):
            if not least <= getattr(self, name) <= most:
                raise InvalidField(f"scope {name} of {getattr(self, name)}: it is {least}..{most}")
        if self.host != self.host.strip() or len(self.host) > _TOLD_CHARACTERS:
            raise InvalidField(f"scope host {self.host[:_TOLD_CHARACTERS]!r} is no name of a host")
        if strange := self.operations - operations:
            told = ", ".join(sorted(operation.value for operation in operations))
            raise InvalidField(
                f"{kind} does not concern {', '.join(sorted(one.value for one in strange))}: only {told}"
            )
        if self.dpas is not None:
            self._check_range(kind, self.operations or operations)

    def _check_range(self, kind: str, operations: frozenset[Operation]) -> None:
        assert self.dpas is not None
        start, length = self.dpas
        if start % PAGE_BYTES or length % PAGE_BYTES or start < 0 or length <= 0:
            raise InvalidField(
                f"scope range {start:#x}+{length:#x}: start and length are multiples of 4096, and the "
                "length is not 0"
            )
        if start + length > _LARGEST_U64:
            raise InvalidField(f"scope range {start:#x}+{length:#x} ends behind 2^64")
        if operations and not operations & WITH_ADDRESSES:
            raise InvalidField(f"{kind} of commands that name no address cannot be confined by dpas")


EVERYTHING: Final = Scope()
"""No bound."""
EVERYWHERE: Final = frozenset({"host", "share_milli", "count", "duration_ns", "seed"})
"""What bounds every fault that meets commands."""
EVERYWHERE_AT: Final = EVERYWHERE | {"dpas"}
"""The same where commands name addresses."""
EVERY_OPERATION: Final = EVERYWHERE_AT | {"operations"}
"""The same where there are several operations to choose from."""

"""Unanswered command: the host waits for an answer until it gives up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cxldev.errors import Unanswered
from cxldev.faults.losing import LosingFault

if TYPE_CHECKING:
    from cxldev.errors import CommandLost


@dataclass(frozen=True, slots=True)
class UnansweredCommandFault(LosingFault):
    """No answer is ever sent; only the host's own deadline ends its waiting."""

    kind: ClassVar[str] = "unanswered_command"
    error: ClassVar[type[CommandLost]] = Unanswered

"""What changed between two looks at values and counters, told as events."""

from __future__ import annotations

import logging
from typing import Any, Protocol


class Tell(Protocol):
    """Takes an event and its facts."""

    def __call__(self, event: str, sentence: str = "", *, level: int = logging.INFO, **facts: Any) -> None:
        """As `AgentLog.tell`."""
        ...


class ChangesSeen:
    """Remembers what it was shown last."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._values: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def changed(self, event: str, what: str, value: Any, **facts: Any) -> None:
        """A value that is told when it is not what it was."""
        before = self._values.setdefault(event, value)
        if value != before:
            self._values[event] = value
            self._tell(event, **{f"{what}_before": before, what: value}, **facts)

    def more(self, counters: object, name: str) -> int:
        """By how much a counter has grown."""
        value: int = getattr(counters, name)
        before = self._counts.get(name, 0)
        self._counts[name] = value
        return value - before

    def growth(self, counters: object, name: str, event: str, what: str, **facts: Any) -> None:
        """A counter whose growth is told, as a warning."""
        if more := self.more(counters, name):
            told: dict[str, Any] = {what: more, **facts}
            self._tell(event, level=logging.WARNING, **told)
